"""USPS: 16 x 16 digits from envelopes (Hull 1994), in the form that LIBSVM's authors publish.

Values from -1 to 1 become bytes by rounding (v + 1) * 127.5; labels 1 to 10 are the digits 0 to 9.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsbench.config import Data
from capsbench.data.dataset import Dataset, tensors
from capsbench.data.formats.libsvm import read_libsvm
from capsbench.data.published import USPS
from capsbench.data.two_files import load_two_files
from capsbench.errors import CapsbenchError

SIDE = 16


def load_usps(cfg: Data) -> Dataset:
    """USPS: 7,291 training and 2,007 test images of 16 x 16 grey pixels.

    Raises:
        CapsbenchError: files are missing, damaged, or not images and labels of this data set.
    """
    return load_two_files(USPS, cfg.root, _read)


def _read(path: Path) -> tuple[UInt8[Tensor, "images 1 16 16"], Int64[Tensor, " images"]]:
    values, labels = read_libsvm(path, SIDE * SIDE)
    if np.abs(values).max() > 1:
        raise CapsbenchError(f"{path}: expected values from -1 to 1, found {values.flat[np.abs(values).argmax()]}")
    pixels = ((values + 1) * 127.5).round().astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    wrong = np.flatnonzero((labels < 1) | (labels > 10))
    if len(wrong):
        raise CapsbenchError(
            f"{path}: expected labels from 1 to 10, found {labels[wrong[0]]} in example {wrong[0] + 1:,}"
        )
    return tensors(pixels, labels - 1, len(USPS.classes), str(path))
