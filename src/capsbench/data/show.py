"""A data set for the eye: a contact sheet and counts per class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from capsbench.data.datasets import Dataset
from capsbench.data.overlap import Pairs, fixed_pairs, overlap, train_pairs
from capsbench.files import replacing

TRAIN_COLUMNS = 16
# Sides in pixels: about what small images are enlarged to, and what none exceeds.
CELL, MAX_CELL = 56, 112
MAX_ROWS = 100
TEST_COLUMNS = 8
GAP = 3
MARGIN = 12
FONT_SIZE = 15
PAPER, INK = (255, 255, 255), (30, 30, 30)


def describe(dataset: Dataset) -> str:
    """The data set in words: sizes, image shape and a table of images per class."""
    channels, height, width = dataset.train_images.shape[1:]
    classes = len(dataset.classes)
    train = torch.bincount(dataset.train_labels, minlength=classes).tolist()
    test = torch.bincount(dataset.test_labels, minlength=classes).tolist()
    rows = [("class", "training", "test")]
    rows += [(name, f"{a:,}", f"{b:,}") for name, a, b in zip(dataset.classes, train, test, strict=True)]
    rows += [("all", f"{sum(train):,}", f"{sum(test):,}")]
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    table = [f"  {name:<{first}}  {a:>{second}}  {b:>{third}}" for name, a, b in rows]
    colour = {1: "grey", 3: "RGB"}.get(channels, f"{channels}-channel")
    head = f"{dataset.name}: {classes} classes, {colour} images of {height} x {width} pixels"
    return "\n".join([*([dataset.about] if dataset.about else []), head, *table])


def framed(dataset: Dataset, pad: int) -> Dataset:
    """The data set in the frame that `data.pad` gives its images."""
    train, test = (functional.pad(part, [pad] * 4) for part in (dataset.train_images, dataset.test_images))
    return replace(dataset, train_images=train, test_images=test)


def paired(dataset: Dataset, pad: int, shift: int) -> Dataset:
    """Pairs of images on top of each other, as `data.overlap` asks for, under the class of the first of each.

    As many of each class as a sheet has room for: some first training pairs of seed 0 and of the fixed test pairs.
    """
    train = train_pairs(dataset.train_labels, 0, 0, shift)
    test = fixed_pairs(dataset.test_labels, 1, shift, 0)
    shown = []
    for images, labels, pairs, columns in (
        (dataset.train_images, dataset.train_labels, train, TRAIN_COLUMNS),
        (dataset.test_images, dataset.test_labels, test, TEST_COLUMNS),
    ):
        first = labels[pairs.index[:, 0]]
        places = torch.cat([(first == label).nonzero().flatten()[:columns] for label in range(len(dataset.classes))])
        chosen = Pairs(pairs.index[places], pairs.corner[places], shift)
        shown += [overlap(images, labels, chosen, pad).images, first[places]]
    return replace(dataset, train_images=shown[0], train_labels=shown[1], test_images=shown[2], test_labels=shown[3])


def contact_sheet(dataset: Dataset, path: Path, counts: tuple[int, int] | None = None) -> Path:
    """Write a PNG with a row for each of the first hundred classes.

    On the left are the class's first training images, on the right its first test images.

    Args:
        dataset: images of one channel (grey), three (RGB) or another number (side by side).
        path: the file to write, whole or not at all.
        counts: training and test images that the heading gives; None: as many as there are.

    Returns:
        `path`.
    """
    shape = _picture(dataset.train_images[0].numpy()).size
    # Small images are enlarged by a whole number, so that each pixel can be seen; large ones are made smaller.
    zoom = max(1, round(CELL / max(shape))) if max(shape) <= MAX_CELL else MAX_CELL / max(shape)
    cell = (max(1, round(shape[0] * zoom)), max(1, round(shape[1] * zoom)))
    cell_h, cell_w = cell[1] + GAP, cell[0] + GAP
    font = ImageFont.load_default(FONT_SIZE)
    label_w = MARGIN + round(max(font.getlength(name) for name in dataset.classes)) + MARGIN
    top = MARGIN + 2 * FONT_SIZE + MARGIN
    test_left = label_w + TRAIN_COLUMNS * cell_w + 2 * MARGIN
    classes = dataset.classes[:MAX_ROWS]
    size = (test_left + TEST_COLUMNS * cell_w + MARGIN, top + len(classes) * cell_h + MARGIN)

    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    heading_y = top - FONT_SIZE - GAP
    train_count, test_count = counts or (len(dataset.train_labels), len(dataset.test_labels))
    draw.text((label_w, heading_y), f"{dataset.name}, training: {train_count:,}", INK, font, "ls")
    draw.text((test_left, heading_y), f"test: {test_count:,}", INK, font, "ls")
    parts = (
        (label_w, dataset.train_images, dataset.train_labels, TRAIN_COLUMNS),
        (test_left, dataset.test_images, dataset.test_labels, TEST_COLUMNS),
    )
    for label, name in enumerate(classes):
        y = top + label * cell_h
        draw.text((MARGIN, y + cell_h // 2), name, INK, font, "lm")
        for left, images, labels, columns in parts:
            for column, image in enumerate(_first_of_class(images, labels, label, columns)):
                way = Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BILINEAR
                picture = _picture(image).resize(cell, way)
                sheet.paste(picture, (left + column * cell_w, y))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def _first_of_class(
    images: UInt8[Tensor, "images channels height width"], labels: Int64[Tensor, "images"], label: int, count: int
) -> UInt8[np.ndarray, "found channels height width"]:
    return images[(labels == label).nonzero().flatten()[:count]].numpy()


def _picture(image: UInt8[np.ndarray, "channels height width"]) -> Image.Image:
    if len(image) == 3:
        return Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    return Image.fromarray(np.concatenate(list(image), axis=1))
