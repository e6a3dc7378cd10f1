"""SVHN, cropped digits (Netzer et al. 2011): MATLAB files with `X` (32, 32, 3, N) and `y` (N, 1), where 10 means 0."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsbench.config import Data
from capsbench.data.dataset import Dataset, tensors
from capsbench.data.formats.matlab import read_matlab
from capsbench.data.published import SVHN
from capsbench.data.two_files import load_two_files
from capsbench.errors import CapsbenchError


def load_svhn(cfg: Data) -> Dataset:
    """SVHN: 73,257 training and 26,032 test images of 32 x 32 colour pixels; the 531,131 extra images are left out.

    Raises:
        CapsbenchError: files are missing, damaged, or not images and labels of this data set.
    """
    return load_two_files(SVHN, cfg.root, _read)


def _read(path: Path) -> tuple[UInt8[Tensor, "images 3 32 32"], Int64[Tensor, " images"]]:
    found = read_matlab(path, ("X", "y"))
    images, labels = np.asarray(found["X"]), np.asarray(found["y"])
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise CapsbenchError(
            f"{path}: expected X of 32 x 32 x 3 x N bytes, found shape {images.shape} and type {images.dtype}"
        )
    if labels.dtype.kind not in "uif" or labels.shape != (images.shape[3], 1):
        raise CapsbenchError(
            f"{path}: expected y of {images.shape[3]:,} x 1 numbers, found shape {labels.shape} and type {labels.dtype}"
        )
    digits = labels[:, 0]
    wrong = np.flatnonzero(~np.isin(digits, np.arange(1, 11)))
    if len(wrong):
        raise CapsbenchError(f"{path}: expected labels from 1 to 10, found {digits[wrong[0]]} at position {wrong[0]:,}")
    return tensors(images.transpose(3, 2, 0, 1), digits.astype(np.int64) % 10, 10, str(path))
