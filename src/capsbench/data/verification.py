"""Proof that files are the published ones, remembered so that it is given once for each file.

A proof is kept as a small file in the user's cache folder, under the path, size and modification time of the proved
file. A lost, broken or unwritable cache only means that the proof is given again.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from capsbench.data.formats.packed import BLOCK, open_packed
from capsbench.data.published import PublishedFile
from capsbench.environment import cache_folder
from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic

log = logging.getLogger(__name__)


def md5(content: bytes | bytearray | memoryview) -> str:
    """Hexadecimal MD5; it finds damage and mix-ups, which is all that published checksums are for."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_file(path: Path, *, unpacked: bool = False) -> str:
    """MD5 of a file as it lies on the disk, or of what it unpacks to.

    Raises:
        CapsbenchError: the file cannot be read, or its compression is damaged.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        if unpacked:
            with open_packed(path) as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
        else:
            with path.open("rb") as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
    except OSError as error:
        raise CapsbenchError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def is_published(file: PublishedFile, path: Path) -> bool | None:
    """Whether a file is the published one, packed or unpacked; None where no checksum is known for its form.

    Raises:
        CapsbenchError: the file cannot be read, or its compression is damaged.
    """
    found = md5_of_file(path)
    if found in (file.md5, file.packed_md5):
        return True
    packed = path.suffix in (".gz", ".bz2")
    if file.md5 is None:
        return False if packed and file.packed_md5 is not None else None
    return packed and md5_of_file(path, unpacked=True) == file.md5


def warn_if_not_published(name: str, files: Sequence[tuple[PublishedFile, Path]]) -> None:
    """One line in the log where the user's own files are not the published ones; a file is proved once only.

    Raises:
        CapsbenchError: a file cannot be read, or its compression is damaged.
    """
    differing = []
    for file, path in files:
        checksums = [checksum for checksum in (file.md5, file.packed_md5) if checksum is not None]
        if not checksums or is_proved(identity := identify(path), checksums):
            continue
        same = is_published(file, path)
        if same:
            remember(identity, checksums)
        elif same is False:
            differing.append(path)
    if differing:
        names = ", ".join(path.name for path in differing)
        log.warning("%s: these are not the published files of %s: %s", differing[0].parent, name, names)


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
