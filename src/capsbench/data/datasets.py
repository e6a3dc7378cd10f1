"""Data sets as tensors: found, proved against what was published, checked."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsbench.config import Data, DatasetName
from capsbench.data.idx_files import read_arrays
from capsbench.data.published import MNIST, Published
from capsbench.data.sources import locate
from capsbench.errors import CapsbenchError


@dataclass(frozen=True)
class Dataset:
    """The official training and test images of a data set.

    Attributes:
        name: what `data.name` calls it.
        train_images: pixels 0..255.
        train_labels: indices into `classes`.
        test_images: pixels 0..255, of the same size as the training images.
        test_labels: indices into `classes`.
        classes: names of the classes.
    """

    name: str
    train_images: UInt8[Tensor, "train channels height width"]
    train_labels: Int64[Tensor, "train"]
    test_images: UInt8[Tensor, "test channels height width"]
    test_labels: Int64[Tensor, "test"]
    classes: tuple[str, ...]


def load_dataset(cfg: Data) -> Dataset:
    """The data set that `data.name` names, from `data.root`, CAPSBENCH_DATA or the bundled copy.

    Raises:
        CapsbenchError: files are missing, damaged, or not images and labels of this data set.
    """
    return LOADERS[cfg.name](cfg.root)


def load_mnist(root: str | None) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images of 28 x 28 grey pixels (LeCun, Cortes, Burges)."""
    return _load_idx(MNIST, root)


LOADERS: dict[DatasetName, Callable[[str | None], Dataset]] = {DatasetName.mnist: load_mnist}


def _load_idx(published: Published, root: str | None) -> Dataset:
    arrays = list(read_arrays(published, locate(published, root)).items())
    train_images, train_labels = _images_and_labels(published, *arrays[:2])
    test_images, test_labels = _images_and_labels(published, *arrays[2:])
    return Dataset(published.name, train_images, train_labels, test_images, test_labels, published.classes)


def _images_and_labels(
    published: Published, named_images: tuple[str, np.ndarray], named_labels: tuple[str, np.ndarray]
) -> tuple[UInt8[Tensor, "images channels height width"], Int64[Tensor, "images"]]:
    """Tensors with memory of their own, after shapes, types and labels were checked."""
    (image_name, images), (label_name, labels) = named_images, named_labels
    channels, height, width = published.image_shape
    if images.dtype != np.uint8 or images.shape[1:] != (height, width):
        raise CapsbenchError(
            f"{image_name}: expected images of {height} x {width} bytes for {published.name}, "
            f"found an array of shape {images.shape} and type {images.dtype}"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise CapsbenchError(
            f"{label_name}: expected {len(images):,} labels, one byte for each image of {image_name}, "
            f"found an array of shape {labels.shape} and type {labels.dtype}"
        )
    last = len(published.classes) - 1
    if labels.max() > last:
        where = int(labels.argmax())
        raise CapsbenchError(
            f"{label_name}: expected labels from 0 to {last}, found {labels[where]} at position {where:,}"
        )
    pixels = torch.from_numpy(images.reshape(-1, channels, height, width).copy())
    return pixels, torch.from_numpy(labels.astype(np.int64))
