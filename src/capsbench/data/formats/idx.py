"""IDX, the format of MNIST and its successors: a magic number, the dimensions, the values.

Two zero bytes, a type code, the number of dimensions, each dimension as four big-endian bytes, then the values in C
order (http://yann.lecun.com/exdb/mnist/, "the IDX file format"). Files come from strangers: nothing in a header is
believed before the bytes are there.
"""

import math
import struct
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.data.formats.packed import open_packed, read_up_to
from capsbench.errors import CapsbenchError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 4
MAX_BYTES = 1 << 32


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in an IDX file, raw or compressed (told by its first bytes, not by its name).

    Args:
        path: the file.

    Returns:
        A read-only array over the file's bytes, in the file's (big-endian) type.

    Raises:
        CapsbenchError: the file cannot be read or is not one whole IDX array; says what was expected and found.
    """
    return parse_idx(read_bytes(path), str(path))


def parse_idx(content: bytes | bytearray | memoryview, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in the bytes of an unpacked IDX file.

    Args:
        content: the whole file.
        name: what an error calls it.

    Returns:
        A read-only array over `content`, in the file's (big-endian) type.

    Raises:
        CapsbenchError: `content` is not one whole IDX array.
    """
    offset, dtype, shape = _header(content, name)
    expected = offset + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise _wrong_length(name, shape, expected, f"{len(content):,}")
    array = np.frombuffer(content, dtype=dtype, offset=offset).reshape(shape)
    array.flags.writeable = False
    return array


def read_bytes(path: Path) -> bytearray:
    """The unpacked bytes of an IDX file, raw or compressed, of the length that its header announces.

    Memory stays within the announced length, however much a hostile file would unpack to.

    Raises:
        CapsbenchError: the file cannot be read, is damaged, or has another length than its header announces.
    """
    with open_packed(path) as stream:
        return _read_announced(stream, str(path))


def _read_announced(stream: BufferedIOBase, name: str) -> bytearray:
    """All bytes of `stream`, if they are as many as its header announces."""
    head = stream.read(4 + 4 * MAX_DIMENSIONS)
    offset, dtype, shape = _header(head, name)
    expected = offset + math.prod(shape) * dtype.itemsize
    content = read_up_to(stream, expected, head)
    if len(content) > expected:
        raise _wrong_length(name, shape, expected, "more")
    if len(content) < expected:
        raise _wrong_length(name, shape, expected, f"{len(content):,}")
    return content


def _header(content: bytes | bytearray | memoryview, name: str) -> tuple[int, np.dtype[Any], tuple[int, ...]]:
    """Where the values begin, their type and the array's shape."""
    if len(content) < 4:
        raise CapsbenchError(f"{name} is no IDX file: expected a header of at least 4 bytes, found {len(content)}")
    if content[0] != 0 or content[1] != 0 or content[2] not in TYPES:
        codes = ", ".join(f"{code:02x}" for code in TYPES)
        raise CapsbenchError(
            f"{name} is no IDX file: expected it to begin with 00 00 and a type code of {codes}, "
            f"found {bytes(content[:3]).hex(' ')}"
        )
    dimensions = content[3]
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise CapsbenchError(f"{name}: expected an IDX array of 1 to {MAX_DIMENSIONS} dimensions, found {dimensions}")
    offset = 4 + 4 * dimensions
    if len(content) < offset:
        raise CapsbenchError(f"{name} is cut short: expected a header of {offset} bytes, found {len(content)}")
    shape = struct.unpack(f">{dimensions}I", content[4:offset])
    dtype = np.dtype(TYPES[content[2]])
    # Python's integers do not overflow, unlike the products of 32-bit dimensions elsewhere.
    size = math.prod(shape) * dtype.itemsize
    if not 0 < size <= MAX_BYTES:
        raise CapsbenchError(
            f"{name}: expected an array of 1 to {MAX_BYTES:,} bytes, found dimensions {_times(shape)} ({size:,} bytes)"
        )
    return offset, dtype, shape


def _wrong_length(name: str, shape: tuple[int, ...], expected: int, found: str) -> CapsbenchError:
    return CapsbenchError(
        f"{name} has the wrong length: its header announces {_times(shape)}, "
        f"so expected {expected:,} bytes, found {found}"
    )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)
