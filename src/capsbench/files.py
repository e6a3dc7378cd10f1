"""Files that appear whole or not at all: written under a temporary name in the same folder, then renamed."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from capsbench.errors import CapsbenchError

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSALS = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR)


class CannotWrite(CapsbenchError, OSError):
    """The disk refuses a file: it is full, read-only or not the user's."""


@contextmanager
def explained(path: Path | None = None) -> Iterator[None]:
    """While inside, an error of the disk becomes one in the user's words.

    Args:
        path: the file that the user knows; None: whichever the error names.

    Raises:
        CannotWrite: the disk is full, read-only or not the user's. Any other error stays as it is.
    """
    try:
        yield
    except CannotWrite:
        raise
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        advice = "; make room and give the same command again, which goes on from here" if error.errno in FULL else ""
        where = f"cannot write {path}" if path else error.filename or "a file"
        raise CannotWrite(f"{where}: {error.strerror}{advice}") from error


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
        CannotWrite: the disk is full, read-only or not the user's.
        FileNotFoundError: the block ended without writing the temporary path.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}.tmp{path.suffix}")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote left in a folder where no other process writes."""
    for path in folder.glob(".*.tmp*"):
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | memoryview | str) -> None:
    """Write `data` (text as UTF-8, line endings untouched) to `path`, whole or not at all."""
    content = data.encode() if isinstance(data, str) else data
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _flush_to_disk(path: Path) -> None:
    # Opened for writing: Windows refuses to fsync a read-only descriptor.
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())
