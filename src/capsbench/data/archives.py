"""Named files out of a tar or zip archive, and nothing else.

An archive decides neither which files are written nor where: the table of data sets does. So members with absolute
paths, `..`, links, devices or unknown names never reach the disk, and a wanted name that is a link or a device, is too
long or appears only in part is refused.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.files import replacing

BLOCK = 1 << 20
MAX_MEMBERS = 100_000
MAX_SCANNED = 16 << 30
Member = tuple[str, bool, Callable[[], Any]]


def extract(archive: Path, members: Mapping[str, str], folder: Path, limit: int) -> list[Path]:
    """Write the wanted files of an archive into `folder`, each whole or not at all.

    Args:
        archive: a .zip file or a .tar file, compressed or not.
        members: names inside the archive, and the plain file name each gets.
        folder: where they are written.
        limit: no file may be longer than this, in bytes.

    Returns:
        The written files, in the order of `members`.

    Raises:
        CapsbenchError: the archive is damaged, or a wanted file is missing, no regular file or too long.
    """
    written: dict[str, Path] = {}
    try:
        with ExitStack() as stack:
            found = _zip(archive, stack) if zipfile.is_zipfile(archive) else _tar(archive, stack)
            for name, regular, opened in found:
                target = members.get(name)
                if target is None or name in written:
                    continue
                if not regular:
                    raise CapsbenchError(f"{archive}: {name} is a link, a device or a folder, not a regular file")
                written[name] = _write(opened(), folder / target, limit, f"{archive}: {name}")
                if len(written) == len(members):
                    break
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise CapsbenchError(f"{archive} is damaged or no archive that can be read: {error}") from error
    except OSError as error:
        # A damaged gzip stream is an OSError without a number.
        what = "is damaged" if error.errno is None else "cannot be unpacked"
        raise CapsbenchError(f"{archive} {what}: {error.strerror or error}") from error
    missing = [name for name in members if name not in written]
    if missing:
        raise CapsbenchError(f"{archive} lacks {', '.join(missing)}")
    return [written[name] for name in members]


def _tar(archive: Path, stack: ExitStack) -> Iterator[Member]:
    opened = stack.enter_context(tarfile.open(archive, "r:*"))  # noqa: SIM115 - the caller's stack closes it
    for number, member in enumerate(opened):
        if number > MAX_MEMBERS or member.offset > MAX_SCANNED:
            raise CapsbenchError(f"{archive} is absurdly large")
        yield member.name.removeprefix("./"), member.isreg(), partial(opened.extractfile, member)


def _zip(archive: Path, stack: ExitStack) -> Iterator[Member]:
    opened = stack.enter_context(zipfile.ZipFile(archive))
    for info in opened.infolist()[:MAX_MEMBERS]:
        # The upper half of the attributes is the Unix mode; a link's type is 0o12, an unset one 0.
        kind = info.external_attr >> 28
        yield info.filename, kind in (0, 0o10) and not info.is_dir(), partial(opened.open, info)


def _write(stream: BufferedIOBase | None, path: Path, limit: int, name: str) -> Path:
    if stream is None:
        raise CapsbenchError(f"{name} is no regular file")
    with stream, replacing(path) as temporary, temporary.open("wb") as target:
        length = 0
        while block := stream.read(BLOCK):
            length += len(block)
            if length > limit:
                raise CapsbenchError(f"{name}: expected at most {limit:,} bytes, found more")
            target.write(block)
    return path
