"""Training, validation and test images of a run.

Validation images come out of the official training images; the official test images are never re-split. Which images
are drawn depends on `data.split_seed` alone, never on a run's seed, so that all runs of a study see the same split.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from capsbench.config import Data, Split
from capsbench.data.datasets import Dataset, load_dataset
from capsbench.data.shuffle import shuffled as shuffled  # noqa: PLC0414 - others draw with it too
from capsbench.errors import CapsbenchError

# Each draw has its own stream, so that one does not change with the other's size.
VALIDATION_STREAM, SUBSET_STREAM, CLASS_STREAM, INSTANCE_STREAM = 0, 1, 2, 4

INSTANCE = "instance"


@dataclass(frozen=True)
class Splits:
    """What a run learns from, is selected by and is tested on; pixels 0..255, labels index `classes`.

    With `data.crop`, validation and test images are the middle windows already, while training images are whole: theirs
    are drawn anew in every epoch. `factors` names what is known of each image besides its class. `novel_images` are
    those validation images that are unlike what is trained on: smallNORB's toys from viewpoints that are left out.
    """

    train_images: UInt8[Tensor, "train channels whole_height whole_width"]
    train_labels: Int64[Tensor, "train"]
    validation_images: UInt8[Tensor, "validation channels height width"]
    validation_labels: Int64[Tensor, "validation"]
    test_images: UInt8[Tensor, "test channels height width"]
    test_labels: Int64[Tensor, "test"]
    classes: tuple[str, ...]
    factors: tuple[str, ...] = ()
    validation_factors: Float32[Tensor, "validation factors"] | None = None
    test_factors: Float32[Tensor, "test factors"] | None = None
    novel_images: UInt8[Tensor, "novel channels height width"] | None = None
    novel_labels: Int64[Tensor, "novel"] | None = None


def load_splits(cfg: Data) -> Splits:
    """Load the data set and split it as `data` says; nothing is padded or shifted here.

    Raises:
        CapsbenchError: files are missing or damaged, or the split asks for images that there are not.
    """
    return split(load_dataset(cfg), cfg)


def split(dataset: Dataset, cfg: Data) -> Splits:
    """Take the validation images, then the training subset, out of the official training images.

    Raises:
        CapsbenchError: `data.validation_images`, `data.train_images` or `data.split_seed` is impossible.
    """
    known = dataset.train_factors
    toys = _toys(dataset.factors, known)
    train, validation = split_indices(dataset.train_labels, len(dataset.classes), cfg, toys)
    novel_images, novel_labels = dataset.novel_images, dataset.novel_labels
    unseen = _toys(dataset.factors, dataset.novel_factors)
    if cfg.split is Split.instance and toys is not None and unseen is not None:
        # As test images do, these show toys that are not trained on.
        kept = unseen == toys[validation[0]]
        assert novel_images is not None
        assert novel_labels is not None
        novel_images, novel_labels = novel_images[kept], novel_labels[kept]
    return Splits(
        train_images=dataset.train_images[train],
        train_labels=dataset.train_labels[train],
        validation_images=middle(dataset.train_images[validation], cfg.crop),
        validation_labels=dataset.train_labels[validation],
        test_images=middle(dataset.test_images, cfg.crop),
        test_labels=dataset.test_labels,
        classes=dataset.classes,
        factors=dataset.factors,
        validation_factors=known[validation] if known is not None else None,
        test_factors=dataset.test_factors,
        novel_images=None if novel_images is None else middle(novel_images, cfg.crop),
        novel_labels=novel_labels,
    )


def _toys(factors: tuple[str, ...], known: Float32[Tensor, "images factors"] | None) -> Int64[Tensor, "images"] | None:
    """Which toy of its category each image shows, where that is known."""
    return known[:, factors.index(INSTANCE)].long() if known is not None and INSTANCE in factors else None


def middle(
    images: UInt8[Tensor, "images channels height width"], crop: int | None
) -> UInt8[Tensor, "images channels window_height window_width"]:
    """The middle window of every image, as the released code tests CIFAR-10 and smallNORB; the images if it is None.

    Raises:
        CapsbenchError: `data.crop` is larger than the images.
    """
    if crop is None:
        return images
    height, width = images.shape[2:]
    if not 1 <= crop <= min(height, width):
        raise CapsbenchError(
            f"data.crop={crop}: expected 1 to {min(height, width)}, since images are {height} x {width}"
        )
    top, left = (height - crop) // 2, (width - crop) // 2
    return images[:, :, top : top + crop, left : left + crop].contiguous()


def split_indices(
    labels: Int64[Tensor, "images"], classes: int, cfg: Data, toys: Int64[Tensor, "images"] | None = None
) -> tuple[Int64[Tensor, "train"], Int64[Tensor, "validation"]]:
    """Which official training images are trained on and which validate, both in the official order.

    `data.split=random` draws the validation images from all classes together (not stratified: class shares vary by
    chance). `data.split=official` takes the first ones, as `--validate` of the released code of Sabour et al. 2017 does
    with 10,000. `data.split=instance` holds out one toy of each category: validation then asks what testing asks, toys
    never seen from familiar viewpoints. `data.train_images` then draws a subset with equally many images of each class
    (give or take one); for one split, a smaller subset is part of every larger one.

    Args:
        labels: of the official training images.
        classes: number of classes.
        cfg: the `data` group.
        toys: which toy of its category each image shows, where that is known.

    Raises:
        CapsbenchError: `data.validation_images`, `data.train_images`, `data.split` or `data.split_seed` is impossible.
    """
    if cfg.split_seed < 0:
        raise CapsbenchError(f"data.split_seed={cfg.split_seed}: expected 0 or more")
    held = _toy_held_out(toys, cfg) if cfg.split is Split.instance else _images_held_out(len(labels), cfg)
    train, validation = np.flatnonzero(~held), np.flatnonzero(held)
    if cfg.train_images is not None:
        kept = balanced_subset(labels.numpy()[train], classes, cfg.train_images, cfg.split_seed)
        train = train[kept]
    return torch.from_numpy(train), torch.from_numpy(validation)


def _toy_held_out(toys: Int64[Tensor, "images"] | None, cfg: Data) -> Bool[np.ndarray, "images"]:
    numbers = np.unique(toys.numpy()) if toys is not None else np.zeros(0, dtype=np.int64)
    if toys is None or len(numbers) < 2:
        raise CapsbenchError(f"data.split=instance: {cfg.name} does not say which of several toys an image shows")
    drawn = int(numbers[shuffled(len(numbers), cfg.split_seed, INSTANCE_STREAM)[0]])
    return np.asarray(toys.numpy() == drawn)


def _images_held_out(images: int, cfg: Data) -> Bool[np.ndarray, "images"]:
    count = cfg.validation_images
    if cfg.validation_share is not None:
        if not 0 < cfg.validation_share < 1:
            raise CapsbenchError(f"data.validation_share={cfg.validation_share}: expected more than 0 and less than 1")
        count = max(1, round(images * cfg.validation_share))
    if not 0 <= count < images:
        raise CapsbenchError(
            f"data.validation_images={count}: expected 0 to {images - 1:,}, "
            f"since they come out of the {images:,} official training images of {cfg.name}"
        )
    order = shuffled(images, cfg.split_seed, VALIDATION_STREAM) if cfg.split is Split.random else np.arange(images)
    held = np.zeros(images, dtype=bool)
    held[order[:count]] = True
    return held


def balanced_subset(
    labels: Int64[np.ndarray, "images"], classes: int, size: int, seed: int
) -> Int64[np.ndarray, "subset"]:
    """Positions, ascending, of `size` images with equally many of each class, give or take one.

    Each class has its images in a drawn order; the subset takes the first of every class, then the second of every
    class, and so on, which makes subsets of different sizes nested.

    Raises:
        CapsbenchError: `data.train_images` is below the number of classes or above what the rarest class allows.
    """
    counts = np.bincount(labels, minlength=classes)
    most = int(counts.min()) * classes
    if not classes <= size <= most:
        expected = f"{classes} to {most:,}" if most else "null"
        raise CapsbenchError(
            f"data.train_images={size}: expected {expected} (a class-balanced subset; the rarest class has "
            f"{counts.min():,} images left to train on), or null for all {len(labels):,}"
        )
    order = shuffled(len(labels), seed, SUBSET_STREAM)
    turn = np.empty(classes, dtype=np.int64)
    turn[shuffled(classes, seed, CLASS_STREAM)] = np.arange(classes)
    rank = np.empty(len(labels), dtype=np.int64)
    for label in range(classes):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((turn[labels], rank))[:size])
