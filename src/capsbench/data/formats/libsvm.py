"""LIBSVM's text form: a line per example, `label index:value index:value ...`; a missing index has the value 0."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from capsbench.data.formats.packed import read_packed
from capsbench.errors import CapsbenchError

MAX_BYTES, MAX_LINES = 64 << 20, 1_000_000
MAX_VALUE = 1e30


def read_libsvm(
    path: Path, features: int
) -> tuple[Float32[np.ndarray, "examples features"], Int64[np.ndarray, " examples"]]:
    """Values and labels of one file, raw or compressed.

    Args:
        path: the file.
        features: how many values an example has; indices run from 1 to this.

    Raises:
        CapsbenchError: the file cannot be read or a line is not of this form; the line is named.
    """
    lines = bytes(read_packed(path, MAX_BYTES)).splitlines()
    if len(lines) > MAX_LINES:
        raise CapsbenchError(f"{path}: expected at most {MAX_LINES:,} lines, found {len(lines):,}")
    values = np.zeros((len(lines), features), dtype=np.float32)
    labels = np.zeros(len(lines), dtype=np.int64)
    row = -1
    for number, line in enumerate(lines, start=1):
        words = line.replace(b":", b" ").split()
        if not words:
            continue
        row += 1
        try:
            labels[row] = int(words[0])
            index = np.array(words[1::2], dtype=np.int64) - 1
            given = np.array(words[2::2], dtype=np.float64)
            if len(index) != len(given) or line.count(b":") != len(index):
                raise ValueError("expected index:value pairs")
        except (ValueError, OverflowError) as error:
            raise CapsbenchError(f"{path}, line {number}: expected 'label index:value ...': {error}") from error
        if len(index) and not (index[0] >= 0 and index[-1] < features and (np.diff(index) > 0).all()):
            raise CapsbenchError(f"{path}, line {number}: expected rising indices from 1 to {features}")
        if not (np.abs(given) <= MAX_VALUE).all():
            raise CapsbenchError(f"{path}, line {number}: expected finite values")
        values[row, index] = given
    if row < 0:
        raise CapsbenchError(f"{path}: expected lines of 'label index:value ...', found none")
    return values[: row + 1], labels[: row + 1]
