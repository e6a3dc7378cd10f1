"""Proof that files are the published ones, remembered so that it is given once for each file.

A proof is kept as a small file in the user's cache folder, under the path, size and modification time of the proved
file. A lost, broken or unwritable cache only means that the proof is given again.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from capsbench.files import write_atomic


def cache_folder() -> Path | None:
    """`$CAPSBENCH_CACHE`, else `$XDG_CACHE_HOME/capsbench`, else `~/.cache/capsbench`; None without a home."""
    own = os.environ.get("CAPSBENCH_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification has relative paths ignored.
    if shared and Path(shared).is_absolute():
        return Path(shared) / "capsbench"
    try:
        return Path.home() / ".cache" / "capsbench"
    except RuntimeError:
        return None


def md5(content: bytes | bytearray | memoryview) -> str:
    """Hexadecimal MD5; it finds damage and mix-ups, which is all that published checksums are for."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def identify(path: Path) -> dict[str, str | int]:
    """What tells one state of a file from another: absolute path, size, modification time in nanoseconds."""
    status = path.stat()
    return {"path": str(path.resolve()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def is_proved(identity: dict[str, str | int], checksums: Sequence[str]) -> bool:
    """Whether `remember` was called for this state of the file and these checksums."""
    marker = _marker(identity)
    if marker is None:
        return False
    try:
        return bool(json.loads(marker.read_bytes()) == _proof(identity, checksums))
    except (OSError, ValueError):
        return False


def remember(identity: dict[str, str | int], checksums: Sequence[str]) -> None:
    """Keep that this state of the file has these checksums; take `identity` before the file is read."""
    marker = _marker(identity)
    if marker is not None:
        with suppress(OSError):
            write_atomic(marker, json.dumps(_proof(identity, checksums), indent=1) + "\n")


def _marker(identity: dict[str, str | int]) -> Path | None:
    folder = cache_folder()
    name = hashlib.sha256(str(identity["path"]).encode()).hexdigest()[:16]
    return folder / "verified" / f"{name}.json" if folder else None


def _proof(identity: dict[str, str | int], checksums: Sequence[str]) -> dict[str, object]:
    return {**identity, "md5": list(checksums)}
