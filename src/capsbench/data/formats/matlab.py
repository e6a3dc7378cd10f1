"""MATLAB's .mat files of versions 5 to 7: numeric arrays, alone or as the fields of a single structure.

The format is that of MathWorks, "MAT-File Format" (level 5): a header of 128 bytes, then elements of a type, a length
and as many bytes, each possibly compressed. SciPy reads more of it, but a damaged file can crash its reader and the
process with it; this one nests nowhere, believes no length before the bytes are there, and leaves everything alone that
it was not asked for.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capsbench.data.formats.packed import read_packed
from capsbench.errors import CapsbenchError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
HEADER = 128
MAX_BYTES = 1 << 30
# Enough of a compressed variable to read its name.
HEAD = 1024
MATRIX, COMPRESSED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
STRUCTURE = 2
NUMERIC = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x08
Array = np.ndarray[Any, np.dtype[Any]]


class _Broken(Exception):
    """What is wrong with the file."""


class _Element(NamedTuple):
    kind: int
    content: memoryview


class _Matrix(NamedTuple):
    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str
    rest: memoryview


def read_matlab(path: Path, names: Sequence[str], fields: Sequence[str] = ()) -> dict[str, Array | dict[str, Array]]:
    """The named variables of a file: an array, or for a structure a dictionary of those `fields` that are arrays.

    Args:
        path: the file, raw or gzip-compressed.
        names: variables that must be there.
        fields: fields wanted of structures.

    Raises:
        CapsbenchError: the file cannot be read, is damaged, is of another version, or lacks a variable.
    """
    content = memoryview(read_packed(path, MAX_BYTES))
    if HDF5_MAGIC in bytes(content[:520]):
        raise CapsbenchError(f"{path} is a MATLAB 7.3 (HDF5) file: expected version 5; save it with save(..., '-v7')")
    found: dict[str, Array | dict[str, Array]] = {}
    try:
        order = _byte_order(content)
        for element in _elements(content[HEADER:], order):
            matrix = _wanted(element, order, names)
            if matrix is not None:
                if matrix.name in found:
                    raise _Broken(f"{matrix.name} is there twice")
                found[matrix.name] = _value(matrix, order, fields)
    except (_Broken, zlib.error) as error:
        raise CapsbenchError(f"{path} is no intact MATLAB file: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise CapsbenchError(f"{path}: expected the variables {', '.join(names)}, found no {', '.join(missing)}")
    return found


def _byte_order(content: memoryview) -> str:
    if len(content) < HEADER:
        raise _Broken(f"expected a header of {HEADER} bytes, found {len(content)}")
    mark = bytes(content[126:128])
    order = {b"IM": "<", b"MI": ">"}.get(mark)
    if order is None or struct.unpack(f"{order}H", content[124:126])[0] != 0x0100:
        raise _Broken(f"expected version 5, found {bytes(content[124:128]).hex(' ')} at its end of the header")
    return order


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """The elements one after the other; each but a compressed one is filled up to eight bytes."""
    place = 0
    while place < len(content):
        if len(content) - place < 8:
            # Some writers fill up the end.
            if any(content[place:]):
                raise _Broken(f"{len(content) - place} bytes are left over")
            return
        kind, length = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:
            # Up to four bytes lie in the tag itself.
            start, kind, length = place + 4, kind & 0xFFFF, kind >> 16
            after = place + 8
            if length > 4:
                raise _Broken(f"{length} bytes in a small element")
        else:
            start = place + 8
            after = start + length + (-length % 8 if kind != COMPRESSED else 0)
        if start + length > len(content):
            raise _Broken(f"cut short: an element announces {length:,} bytes, {len(content) - start:,} are there")
        yield _Element(kind, content[start : start + length])
        place = after


def _wanted(element: _Element, order: str, names: Sequence[str]) -> _Matrix | None:
    """The variable in an element, unpacked, if it is one of `names`."""
    if element.kind == MATRIX:
        matrix = _matrix(element.content, order)
        return matrix if matrix.name in names else None
    if element.kind != COMPRESSED:
        return None
    head = zlib.decompressobj().decompress(element.content, HEAD)
    if len(head) < 8 or struct.unpack_from(f"{order}I", head)[0] != MATRIX:
        return None
    if _matrix(memoryview(head)[8:], order).name not in names:
        return None
    unpacking = zlib.decompressobj()
    unpacked = unpacking.decompress(element.content, MAX_BYTES)
    if not unpacking.eof:
        raise _Broken(f"a compressed variable is cut short or unpacks to more than {MAX_BYTES:,} bytes")
    inner = next(_elements(memoryview(unpacked), order))
    return _matrix(inner.content, order)


def _matrix(content: memoryview, order: str) -> _Matrix:
    """Class, dimensions and name of a variable, and the bytes behind them."""
    parts = []
    place = 0
    for _ in range(3):
        if len(content) - place < 8:
            raise _Broken("a variable without flags, dimensions or name")
        kind, length = struct.unpack_from(f"{order}II", content, place)
        size = 8 if kind >> 16 else 8 + length + -length % 8
        parts.append(next(_elements(content[place : place + size], order)).content)
        place += size
    flags, sizes, name = parts
    if len(flags) != 8 or len(sizes) % 4 or not 8 <= len(sizes) <= 128:
        raise _Broken("a variable with broken flags or dimensions")
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if min(shape) < 0:
        raise _Broken(f"a variable of dimensions {shape}")
    word = struct.unpack_from(f"{order}I", flags)[0]
    return _Matrix(word & 0xFF, word >> 8 & 0xFF, shape, bytes(name).decode("latin1"), content[place:])


def _value(matrix: _Matrix, order: str, fields: Sequence[str]) -> Array | dict[str, Array]:
    if matrix.kind != STRUCTURE:
        return _array(matrix, order)
    if math.prod(matrix.shape) != 1:
        raise _Broken(f"{matrix.name}: expected a single structure, found {matrix.shape}")
    parts = _elements(matrix.rest, order)
    width, text = next(parts, None), next(parts, None)
    if width is None or text is None or len(width.content) != 4:
        raise _Broken(f"{matrix.name}: a structure without names of its fields")
    length = struct.unpack(f"{order}i", width.content)[0]
    if not 1 <= length <= 64:
        raise _Broken(f"{matrix.name}: names of {length} bytes")
    joined = bytes(text.content).decode("latin1")
    names = [joined[start : start + length].partition("\0")[0] for start in range(0, len(joined), length)]
    values = {}
    for name, element in zip(names, parts, strict=False):
        if name in fields and element.kind == MATRIX:
            field = _matrix(element.content, order)
            if field.kind in NUMERIC:
                values[name] = _array(field, order)
    return values


def _array(matrix: _Matrix, order: str) -> Array:
    """A numeric array; numbers may be stored in a shorter type than they have."""
    if matrix.kind not in NUMERIC or matrix.flags & COMPLEX:
        raise _Broken(f"{matrix.name}: expected an array of real numbers, found class {matrix.kind}")
    element = next(_elements(matrix.rest, order), None)
    if element is None or element.kind not in STORED:
        raise _Broken(f"{matrix.name}: an array without numbers")
    stored = np.dtype(f"{order}{STORED[element.kind]}")
    expected = math.prod(matrix.shape) * stored.itemsize
    if len(element.content) != expected:
        raise _Broken(f"{matrix.name}: expected {expected:,} bytes of numbers, found {len(element.content):,}")
    numbers = np.frombuffer(element.content, dtype=stored).reshape(matrix.shape, order="F")
    with np.errstate(invalid="ignore", over="ignore"):
        return numbers.astype(NUMERIC[matrix.kind], copy=False)
