"""A data set for the eye: a contact sheet and counts per class."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from capsbench.data.datasets import Dataset
from capsbench.files import replacing

TRAIN_COLUMNS = 16
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
    return "\n".join([f"{dataset.name}: {classes} classes, {colour} images of {height} x {width} pixels", *table])


def contact_sheet(dataset: Dataset, path: Path) -> Path:
    """Write a PNG with a row per class: its first training images on the left, its first test images on the right.

    Args:
        dataset: images of one channel (grey) or three (RGB).
        path: the file to write, whole or not at all.

    Returns:
        `path`.
    """
    height, width = dataset.train_images.shape[2:]
    zoom = max(1, round(56 / max(height, width)))
    cell_h, cell_w = height * zoom + GAP, width * zoom + GAP
    font = ImageFont.load_default(FONT_SIZE)
    label_w = MARGIN + round(max(font.getlength(name) for name in dataset.classes)) + MARGIN
    top = MARGIN + 2 * FONT_SIZE + MARGIN
    test_left = label_w + TRAIN_COLUMNS * cell_w + 2 * MARGIN
    size = (test_left + TEST_COLUMNS * cell_w + MARGIN, top + len(dataset.classes) * cell_h + MARGIN)

    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    heading_y = top - FONT_SIZE - GAP
    draw.text((label_w, heading_y), f"{dataset.name}, training: {len(dataset.train_labels):,}", INK, font, "ls")
    draw.text((test_left, heading_y), f"test: {len(dataset.test_labels):,}", INK, font, "ls")
    parts = (
        (label_w, dataset.train_images, dataset.train_labels, TRAIN_COLUMNS),
        (test_left, dataset.test_images, dataset.test_labels, TEST_COLUMNS),
    )
    for label, name in enumerate(dataset.classes):
        y = top + label * cell_h
        draw.text((MARGIN, y + cell_h // 2), name, INK, font, "lm")
        for left, images, labels, columns in parts:
            for column, image in enumerate(_first_of_class(images, labels, label, columns)):
                picture = _picture(image).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
                sheet.paste(picture, (left + column * cell_w, y))
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def _first_of_class(
    images: UInt8[Tensor, "images channels height width"], labels: Int64[Tensor, "images"], label: int, count: int
) -> UInt8[np.ndarray, "found channels height width"]:
    return images[(labels == label).nonzero().flatten()[:count]].numpy()


def _picture(image: UInt8[np.ndarray, "channels height width"]) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1))
