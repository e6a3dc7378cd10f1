"""What every loader hands back: the official training and test images of one data set."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

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
        factors: names of what is known about each image besides its class (smallNORB's azimuth, affNIST's rotation).
        train_factors: their values for the training images; None where nothing is known.
        test_factors: their values for the test images; None where nothing is known.
        novel_images: official training images that are kept out of training (smallNORB's novel viewpoints).
        novel_labels: their classes.
        novel_factors: what is known about them.
        about: what was found, where that needs saying: of a folder of images, of an incomplete set.
    """

    name: str
    train_images: UInt8[Tensor, "train channels height width"]
    train_labels: Int64[Tensor, "train"]
    test_images: UInt8[Tensor, "test channels height width"]
    test_labels: Int64[Tensor, "test"]
    classes: tuple[str, ...]
    factors: tuple[str, ...] = ()
    train_factors: Float32[Tensor, "train factors"] | None = None
    test_factors: Float32[Tensor, "test factors"] | None = None
    about: str = ""
    novel_images: UInt8[Tensor, "novel channels height width"] | None = None
    novel_labels: Int64[Tensor, "novel"] | None = None
    novel_factors: Float32[Tensor, "novel factors"] | None = None


def tensors(
    images: UInt8[np.ndarray, "images channels height width"],
    labels: np.ndarray,
    classes: int,
    where: str,
) -> tuple[UInt8[Tensor, "images channels height width"], Int64[Tensor, " images"]]:
    """Tensors with memory of their own, after the labels were checked.

    Args:
        images: pixels.
        labels: one number for each image.
        classes: labels run from 0 to this, exclusive.
        where: what an error calls the labels.

    Raises:
        CapsbenchError: there are not as many labels as images, or a label is out of range.
    """
    if labels.shape != images.shape[:1]:
        raise CapsbenchError(
            f"{where}: expected {len(images):,} labels, one for each image, found shape {labels.shape}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise CapsbenchError(
            f"{where}: expected labels from 0 to {classes - 1}, found {labels[wrong[0]]} at position {wrong[0]:,}"
        )
    return torch.from_numpy(np.array(images, order="C")), torch.from_numpy(labels.astype(np.int64))
