"""CIFAR-10's binary version: records of one label byte and 3,072 pixel bytes (https://www.cs.toronto.edu/~kriz/cifar.html)."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from capsbench.data.formats.packed import read_packed
from capsbench.errors import CapsbenchError

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
MAX_BYTES = 60_000 * RECORD


def read_cifar_binary(path: Path) -> tuple[UInt8[np.ndarray, "images 3 32 32"], UInt8[np.ndarray, " images"]]:
    """Images (red, green, blue planes) and labels of one file.

    Raises:
        CapsbenchError: the file cannot be read or is not a whole number of records.
    """
    content = read_packed(path, MAX_BYTES)
    images, rest = divmod(len(content), RECORD)
    if rest or not images:
        raise CapsbenchError(
            f"{path}: expected records of {RECORD:,} bytes (CIFAR-10's binary version), "
            f"found {len(content):,} bytes: {images:,} whole records and {rest:,} bytes"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(images, RECORD)
    return records[:, 1:].reshape(images, *SHAPE), records[:, 0].copy()
