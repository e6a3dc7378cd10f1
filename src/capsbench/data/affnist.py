"""affNIST's official test set (Tieleman 2013) after training on shifted MNIST, the protocol of Sabour et al. 2017.

The test images are affNIST's 320,000 transformed 40 x 40 digits (`transformed/test.mat`, 32 for each of MNIST's 10,000
test digits). Training images are MNIST's 60,000, padded to 40 x 40; with `data.shift=6` they are the expanded MNIST of
section 5.1. Nothing ever trains on or selects by a transformed digit.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from capsbench.config import Data
from capsbench.data.dataset import Dataset, tensors
from capsbench.data.formats.matlab import read_matlab
from capsbench.data.idx_files import load_idx
from capsbench.data.published import AFFNIST, MNIST
from capsbench.data.sources import locate
from capsbench.errors import CapsbenchError

SIDE, PAD = 40, 6
FIELDS = ("image", "label_int", "human_readable_transform")
# The order is that of the authors' page as remembered, which cannot be reached any more to check.
FACTORS = ("rotation", "shear", "vertical_scale", "horizontal_scale", "vertical_translation", "horizontal_translation")


def load_affnist(cfg: Data) -> Dataset:
    """MNIST's training images padded to 40 x 40, and affNIST's test images with their six parameters.

    Raises:
        CapsbenchError: test.mat is missing, damaged or not affNIST's.
    """
    (path,) = locate(AFFNIST, cfg.root).files
    test_images, test_labels, factors = read_affnist(path)
    digits = load_idx(MNIST, None)
    return Dataset(
        AFFNIST.name,
        functional.pad(digits.train_images, [PAD] * 4),
        digits.train_labels,
        test_images,
        test_labels,
        AFFNIST.classes,
        FACTORS,
        None,
        factors,
    )


def read_affnist(
    path: Path,
) -> tuple[UInt8[Tensor, "images 1 40 40"], Int64[Tensor, " images"], Float32[Tensor, "images 6"]]:
    """Images, labels and transformations of one of affNIST's .mat files.

    Raises:
        CapsbenchError: the file cannot be read or is not affNIST's.
    """
    found = read_matlab(path, ("affNISTdata",), FIELDS)["affNISTdata"]
    fields = found if isinstance(found, dict) else {}
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        raise CapsbenchError(f"{path}: expected affNISTdata to be a structure with {', '.join(missing)}")
    images, labels, factors = (fields[name] for name in FIELDS)
    if images.dtype != np.uint8 or images.ndim != 2 or len(images) != SIDE * SIDE:
        raise CapsbenchError(f"{path}: expected image of 1,600 x N bytes, found {images.shape} of type {images.dtype}")
    count = images.shape[1]
    if labels.dtype.kind not in "uif" or labels.size != count:
        raise CapsbenchError(
            f"{path}: expected {count:,} numbers in label_int, found {labels.shape} of type {labels.dtype}"
        )
    if factors.dtype.kind not in "uif" or factors.shape != (len(FACTORS), count):
        raise CapsbenchError(
            f"{path}: expected human_readable_transform of 6 x {count:,} numbers, "
            f"found {factors.shape} of type {factors.dtype}"
        )
    pixels, digits = tensors(images.T.reshape(-1, 1, SIDE, SIDE), labels.reshape(-1), len(AFFNIST.classes), str(path))
    return pixels, digits, torch.from_numpy(np.ascontiguousarray(factors.T, dtype=np.float32))
