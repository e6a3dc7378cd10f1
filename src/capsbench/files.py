"""Files that appear whole or not at all: written under a temporary name in the same folder, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in `path`'s folder that becomes `path` when the block ends, and vanishes when it raises.

    The missing parents of `path` are made. The data reach the disk before the rename, so that a crash leaves either
    the old file or the whole new one. A process killed in between leaves at most a hidden `.NAME.*.tmp`.

    Args:
        path: the file to write or to replace.

    Yields:
        The temporary path, which does not exist yet and keeps the suffix of `path` (some writers append one).

    Raises:
        FileNotFoundError: the block ended without writing the temporary path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8, line endings untouched) to `path`, whole or not at all."""
    content = data.encode() if isinstance(data, str) else data
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _flush_to_disk(path: Path) -> None:
    # Opened for writing: Windows refuses to fsync a read-only descriptor.
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())
