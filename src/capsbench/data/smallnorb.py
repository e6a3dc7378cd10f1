"""smallNORB (LeCun, Huang, Bottou 2004): stereo pairs of toys from known viewpoints; left and right are two channels.

`data.viewpoint` makes the protocol of Hinton, Sabour and Frosst 2018 (section 5.1): train on six azimuths (300 to 40
degrees) or three elevations (30 to 40 degrees) of the training toys; test images keep all viewpoints, and their factors
say which are familiar and which are novel.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from capsbench.config import Data, Viewpoint
from capsbench.data.dataset import Dataset, tensors
from capsbench.data.formats.norb import read_norb
from capsbench.data.published import SMALLNORB
from capsbench.data.sources import locate
from capsbench.data.verification import warn_if_not_published
from capsbench.errors import CapsbenchError

FACTORS = ("instance", "elevation", "azimuth", "lighting")
# Codes as in the info files: azimuth / 10 degrees, and (elevation - 30 degrees) / 5.
FAMILIAR: dict[Viewpoint, tuple[int, ...]] = {
    Viewpoint.azimuth: (30, 32, 34, 0, 2, 4),
    Viewpoint.elevation: (0, 1, 2),
}


def load_smallnorb(cfg: Data) -> Dataset:
    """smallNORB: 24,300 training and 24,300 test pairs of 96 x 96 grey pixels, as two channels.

    Raises:
        CapsbenchError: files are missing, damaged, or not images, categories and info of this data set.
    """
    source = locate(SMALLNORB, cfg.root)
    train_images, train_labels, train_factors = _read(*source.files[:3])
    test_images, test_labels, test_factors = _read(*source.files[3:])
    warn_if_not_published(SMALLNORB.name, list(zip(SMALLNORB.files, source.files, strict=True)))
    kept = familiar(train_factors, cfg.viewpoint)
    dataset = Dataset(
        SMALLNORB.name,
        train_images[kept],
        train_labels[kept],
        test_images,
        test_labels,
        SMALLNORB.classes,
        FACTORS,
        train_factors[kept],
        test_factors,
    )
    if cfg.viewpoint is Viewpoint.all:
        return dataset
    about = (
        f"smallnorb: training on {int(kept.sum()):,} of {len(kept):,} images, those of {cfg.viewpoint} codes "
        f"{', '.join(map(str, FAMILIAR[cfg.viewpoint]))}"
    )
    images, labels, factors = train_images[~kept], train_labels[~kept], train_factors[~kept]
    return replace(dataset, about=about, novel_images=images, novel_labels=labels, novel_factors=factors)


def familiar(factors: Float32[Tensor, "images 4"], viewpoint: Viewpoint) -> Bool[Tensor, " images"]:
    """Which images are seen from a viewpoint that `viewpoint` trains on; the others are novel.

    Args:
        factors: of smallNORB's images, in the order of `FACTORS`.
        viewpoint: azimuth or elevation; with `all` every image is familiar.
    """
    if viewpoint is Viewpoint.all:
        return torch.ones(len(factors), dtype=torch.bool)
    column = factors[:, FACTORS.index(viewpoint.value)]
    return torch.isin(column, torch.tensor(FAMILIAR[viewpoint], dtype=factors.dtype))


def _read(
    images_path: Path, labels_path: Path, factors_path: Path
) -> tuple[UInt8[Tensor, "images 2 96 96"], Int64[Tensor, " images"], Float32[Tensor, "images 4"]]:
    images, labels, factors = read_norb(images_path), read_norb(labels_path), read_norb(factors_path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != SMALLNORB.image_shape:
        raise CapsbenchError(
            f"{images_path}: expected N x 2 x 96 x 96 bytes, found shape {images.shape} and type {images.dtype}"
        )
    if labels.dtype.kind != "i" or labels.shape != images.shape[:1]:
        raise CapsbenchError(
            f"{labels_path}: expected {len(images):,} whole numbers, one for each pair of {images_path.name}, "
            f"found shape {labels.shape} and type {labels.dtype}"
        )
    if factors.dtype.kind != "i" or factors.shape != (len(images), len(FACTORS)):
        raise CapsbenchError(
            f"{factors_path}: expected {len(images):,} x {len(FACTORS)} whole numbers ({', '.join(FACTORS)}), "
            f"found shape {factors.shape} and type {factors.dtype}"
        )
    for name, column, most in zip(FACTORS, factors.T, (9, 8, 34, 5), strict=True):
        if column.min() < 0 or column.max() > most:
            raise CapsbenchError(
                f"{factors_path}: expected {name} codes from 0 to {most}, found {column.min()} to {column.max()}"
            )
    pixels, categories = tensors(images, labels, len(SMALLNORB.classes), str(labels_path))
    return pixels, categories, torch.from_numpy(factors.astype(np.float32))
