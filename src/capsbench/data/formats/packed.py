"""Files that may be gzip- or bzip2-compressed, told by their first bytes; damage is reported in the user's words."""

import zlib
from bz2 import BZ2File
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from gzip import BadGzipFile, GzipFile
from io import BufferedIOBase
from pathlib import Path

from capsbench.errors import CapsbenchError

GZIP_MAGIC, BZIP2_MAGIC = b"\x1f\x8b", b"BZh"
BLOCK = 1 << 20


@contextmanager
def open_packed(path: Path) -> Iterator[BufferedIOBase]:
    """The unpacked content of a file as a stream.

    Raises:
        CapsbenchError: the file cannot be read, or its compression is damaged.
    """
    kind = "file"
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(path.open("rb"))
            magic = stream.peek(3)[:3]
            if magic[:2] == GZIP_MAGIC:
                kind = "gzip file"
                yield stack.enter_context(GzipFile(fileobj=stream))
            elif magic == BZIP2_MAGIC:
                kind = "bzip2 file"
                yield stack.enter_context(BZ2File(stream))
            else:
                yield stream
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise CapsbenchError(f"{path} is damaged: expected an intact {kind}, found: {error}") from error
    except OSError as error:
        # bz2 has no error class of its own: without an errno it is damage.
        if error.errno is None:
            raise CapsbenchError(f"{path} is damaged: expected an intact {kind}, found: {error}") from error
        raise CapsbenchError(f"cannot read {path}: {error.strerror or error}") from error


def read_up_to(stream: BufferedIOBase, limit: int, start: bytes = b"") -> bytearray:
    """`start` and then all bytes of `stream`, at most `limit` in all and one more: the caller sees what is too long.

    Memory grows with what is there, never with what a header announces.
    """
    content = bytearray(start)
    while len(content) <= limit and (block := stream.read(min(BLOCK, limit + 1 - len(content)))):
        content += block
    return content


def read_packed(path: Path, limit: int) -> bytearray:
    """The unpacked bytes of a file.

    Raises:
        CapsbenchError: it cannot be read, is damaged, or is longer than `limit`.
    """
    with open_packed(path) as stream:
        content = read_up_to(stream, limit)
    if len(content) > limit:
        raise CapsbenchError(f"{path}: expected at most {limit:,} bytes, found more")
    return content
