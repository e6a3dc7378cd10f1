"""The binary matrices of NORB: a magic number that names the type, the dimensions, the values, all little-endian.

The format is that of https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/ ("FILE FORMAT"): the files end in `.mat` and have
nothing to do with MATLAB. A vector's header has three dimensions, of which only the first counts.
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.data.formats.packed import open_packed, read_up_to
from capsbench.errors import CapsbenchError

TYPES = {0x1E3D4C51: "<f4", 0x1E3D4C53: "<f8", 0x1E3D4C54: "<i4", 0x1E3D4C55: "u1", 0x1E3D4C56: "<i2"}
PACKED = 0x1E3D4C52
MAX_DIMENSIONS = 8
MAX_BYTES = 1 << 31


def read_norb(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in one file, raw or gzip-compressed; read-only.

    Raises:
        CapsbenchError: the file cannot be read or is not one whole matrix.
    """
    with open_packed(path) as stream:
        dtype, shape = _header(stream.read(8), stream.read, path)
        expected = math.prod(shape) * dtype.itemsize
        if not 0 < expected <= MAX_BYTES:
            raise CapsbenchError(f"{path}: expected a matrix of 1 to {MAX_BYTES:,} bytes, found {_times(shape)}")
        content = read_up_to(stream, expected)
    if len(content) != expected:
        found = "more" if len(content) > expected else f"{len(content):,}"
        raise CapsbenchError(
            f"{path} has the wrong length: its header announces {_times(shape)}, "
            f"so expected {expected:,} bytes of values, found {found}"
        )
    array = np.frombuffer(content, dtype=dtype).reshape(shape)
    array.flags.writeable = False
    return array


def _header(start: bytes, read: Any, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if len(start) < 8:
        raise CapsbenchError(f"{path} is cut short: expected a header of at least 20 bytes, found {len(start)}")
    magic, dimensions = struct.unpack("<Ii", start)
    if magic == PACKED:
        raise CapsbenchError(f"{path}: packed NORB matrices ({magic:08X}) are not supported; smallNORB has none")
    if magic not in TYPES:
        known = ", ".join(f"{code:08X}" for code in TYPES)
        raise CapsbenchError(f"{path} is no NORB matrix: expected a magic number of {known}, found {magic:08X}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise CapsbenchError(f"{path}: expected a NORB matrix of 1 to {MAX_DIMENSIONS} dimensions, found {dimensions}")
    stored = max(dimensions, 3)
    sizes = read(4 * stored)
    if len(sizes) < 4 * stored:
        raise CapsbenchError(f"{path} is cut short: expected {stored} dimensions, found {len(sizes) // 4}")
    return np.dtype(TYPES[magic]), struct.unpack(f"<{stored}I", sizes)[:dimensions]


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)
