"""CIFAR-10's Python version: pickled dictionaries, read without running anything that is in them.

A pickle is a program. Three walls stand before it: its instructions are listed first and only those that build plain
data are let through; every name it asks for becomes a stand-in of this module that only remembers its arguments; the
array is made here, from bytes whose number was checked. NumPy's own unpickling is never called.
"""

import io
import pickle
import pickletools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capsbench.data.formats.packed import read_packed
from capsbench.errors import CapsbenchError

PIXELS = 3 * 32 * 32
MAX_BYTES = 64 << 20
# A file of CIFAR-10 has about 45,000 instructions and fewer than ten tuples. Deep nests of tuples can crash Python.
MAX_INSTRUCTIONS, MAX_NESTS = 1_000_000, 100
REMEMBERS = {"PUT", "BINPUT", "LONG_BINPUT"}
NESTS = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "REDUCE", "BUILD", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"}
PLAIN = {
    "PROTO", "FRAME", "STOP", "MARK", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2",
    "LONG1", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES", "SHORT_BINUNICODE", "BINUNICODE",
    "APPEND", "APPENDS", "SETITEM", "SETITEMS", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
    "GET", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL",
}  # fmt: skip


def read_cifar_pickle(path: Path) -> tuple[UInt8[np.ndarray, "images 3 32 32"], UInt8[np.ndarray, " images"]]:
    """Images (red, green, blue planes) and labels of one file.

    Raises:
        CapsbenchError: the file cannot be read, is no pickle, holds anything but CIFAR-10's plain data, or asks for
            code to be run.
    """
    entry = _load(bytes(read_packed(path, MAX_BYTES)), path)
    if not isinstance(entry, dict):
        raise CapsbenchError(f"{path}: expected a pickled dictionary, found {type(entry).__name__}")
    named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in entry.items()}
    labels, array = named.get("labels"), named.get("data")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 255 for label in labels):
        raise CapsbenchError(f"{path}: expected a list of labels under 'labels'")
    state = getattr(array, "state", None)
    shape = (len(labels), PIXELS)
    # NumPy's state of an array: version, shape, type, column order, bytes.
    if not labels or not isinstance(state, tuple) or len(state) != 5 or state[1] != shape or state[3]:
        raise CapsbenchError(f"{path}: expected an array of {shape[0]:,} x {shape[1]:,} bytes under 'data'")
    kind, pixels = getattr(state[2], "arguments", (None,)), state[4]
    if not kind or kind[0] not in ("u1", b"u1", "|u1", b"|u1") or not isinstance(pixels, bytes):
        raise CapsbenchError(f"{path}: expected an array of unsigned bytes under 'data'")
    if len(pixels) != shape[0] * shape[1]:
        raise CapsbenchError(f"{path}: expected {shape[0] * shape[1]:,} pixels under 'data', found {len(pixels):,}")
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 3, 32, 32)
    return images, np.array(labels, dtype=np.uint8)


def _load(content: bytes, path: Path) -> Any:
    with warnings.catch_warnings():
        # Odd escapes in the strings of a broken file.
        warnings.simplefilter("ignore")
        _refuse_programs(content, path)
        try:
            return _Plain(content, path).load()
        except CapsbenchError:
            raise
        except Exception as error:
            # The unpickler of a broken stream raises nearly anything.
            what = f"{type(error).__name__}: {error}"
            raise CapsbenchError(f"{path} is damaged: not an intact pickle ({what})") from error


def _refuse_programs(content: bytes, path: Path) -> None:
    """List the instructions, run none."""
    count = nests = 0
    try:
        for instruction, argument, position in pickletools.genops(content):
            count += 1
            nests += instruction.name in NESTS
            if instruction.name not in PLAIN and instruction.name not in NESTS:
                raise CapsbenchError(
                    f"{path}: expected a pickle of plain data, found {instruction.name} at byte {position:,}"
                )
            # The unpickler makes room for as many remembered objects as the number of one of them says.
            far = instruction.name in REMEMBERS and isinstance(argument, int) and argument > MAX_INSTRUCTIONS
            if count > MAX_INSTRUCTIONS or nests > MAX_NESTS or far:
                raise CapsbenchError(f"{path}: expected a pickle of CIFAR-10's few objects, found a far larger program")
    except (ValueError, IndexError, KeyError) as error:
        raise CapsbenchError(f"{path} is no intact pickle: {error}") from error


class _Plain(pickle.Unpickler):
    """Knows only the four names that a pickled array needs, each as a stand-in made for this one reading."""

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.path = path

        class Array:
            state: object = None

            def __setstate__(self, state: object) -> None:
                self.state = state

        class Kind:
            def __init__(self, *arguments: object) -> None:
                self.arguments = arguments

            def __setstate__(self, state: object) -> None:
                """Byte order and alignment: nothing that matters to bytes."""

        def reconstruct(*arguments: object) -> Array:
            del arguments
            return Array()

        def encode(text: object, encoding: object) -> bytes:
            if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
                raise pickle.UnpicklingError("only latin1 text becomes bytes")
            return text.encode("latin1")

        self.names: dict[tuple[str, str], object] = {
            ("numpy", "ndarray"): Array,
            ("numpy", "dtype"): Kind,
            ("_codecs", "encode"): encode,
        }
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            self.names[module, "_reconstruct"] = reconstruct

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.names[module, name]
        except KeyError:
            raise CapsbenchError(
                f"{self.path}: a pickle that wants {module}.{name} is not CIFAR-10: nothing in it was run; "
                "fetch the data set again from its authors"
            ) from None
