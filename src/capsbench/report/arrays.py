"""Arrays out of the .npz files of a run, which may be damaged, cut or made by a stranger: nothing in them is believed.

NumPy makes room for what a header announces before it reads; here the announced size must be in the file first.
"""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from capsbench.errors import CapsbenchError

MAX_BYTES = 2 << 30
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def read_arrays(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Arrays:
    """The named numeric arrays of a file.

    Args:
        path: the .npz file.
        needed: names that must be there.
        optional: names that are read where they are there.

    Raises:
        CapsbenchError: the file cannot be read, holds objects instead of numbers, lacks an array or announces more than
            it has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_false_sizes(archive)
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in (*needed, *optional) if name in needed or name in arrays}
    except Exception as error:
        # zipfile, zlib and NumPy raise nearly anything of a broken file.
        lines = str(error).splitlines() or [type(error).__name__]
        raise CapsbenchError(f"{path.name} cannot be read: {lines[0]}") from error
    strange = next((name for name, array in found.items() if array.dtype.kind not in "buif"), None)
    if strange is not None:
        raise CapsbenchError(f"{path.name} cannot be read: {strange} holds {found[strange].dtype}, not numbers")
    return found


def _refuse_false_sizes(archive: zipfile.ZipFile) -> None:
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        raise CapsbenchError(f"it would unpack to more than {MAX_BYTES:,} bytes")
    for info in archive.infolist():
        with archive.open(info) as member:
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, kind = read(member)
        announced = math.prod(shape) * kind.itemsize
        if announced > info.file_size:
            raise CapsbenchError(f"{info.filename} announces {announced:,} bytes, {info.file_size:,} are there")
