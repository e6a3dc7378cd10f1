"""CIFAR-10 (Krizhevsky 2009), from its binary or its Python version; part of it only where that is asked for."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from capsbench.config import Data
from capsbench.data.dataset import Dataset, tensors
from capsbench.data.formats.cifar_binary import read_cifar_binary
from capsbench.data.formats.cifar_pickle import read_cifar_pickle
from capsbench.data.published import CIFAR10, CIFAR10_PYTHON, Published
from capsbench.data.sources import choose_form, existing, fetch_folder, locate
from capsbench.data.verification import warn_if_not_published
from capsbench.errors import CapsbenchError

Reader = Callable[[Path], tuple[UInt8[np.ndarray, "images 3 32 32"], UInt8[np.ndarray, " images"]]]
# Files of an incomplete set may have been cut at a whole number of records and been given a longer name.
PART = {
    CIFAR10.title: (re.compile(r"data_batch\w*\.bin"), re.compile(r"test_batch\w*\.bin")),
    CIFAR10_PYTHON.title: (re.compile(r"data_batch\w*"), re.compile(r"test_batch\w*")),
}


def load_cifar10(cfg: Data) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 colour pixels.

    Raises:
        CapsbenchError: files are missing (`data.partial=true` accepts that), damaged, or not CIFAR-10's.
    """
    form = choose_form((CIFAR10, CIFAR10_PYTHON), cfg.root)
    train, test = _partial(form, cfg.root) if cfg.partial else _complete(form, cfg.root)
    read: Reader = read_cifar_pickle if form is CIFAR10_PYTHON else read_cifar_binary
    train_images, train_labels = _together(train, read)
    test_images, test_labels = _together(test, read)
    about = ""
    counts = len(train_labels), len(test_labels)
    if cfg.partial and counts != (form.train_images, form.test_images):
        about = (
            f"part of CIFAR-10, as data.partial=true asks: {counts[0]:,} of {form.train_images:,} training images "
            f"({_names(train)}) and {counts[1]:,} of {form.test_images:,} test images ({_names(test)}) from "
            f"{train[0].parent}; say so wherever a number from it is shown"
        )
    return Dataset(
        form.name,
        *tensors(train_images, train_labels, len(form.classes), "training labels"),
        *tensors(test_images, test_labels, len(form.classes), "test labels"),
        form.classes,
        about=about,
    )


def _complete(form: Published, root: str | None) -> tuple[list[Path], list[Path]]:
    try:
        source = locate(form, root)
    except CapsbenchError as error:
        if root is not None and _parts(form, root)[0]:
            raise CapsbenchError(
                f"{error}\n  To use what is there on purpose, say data=cifar10_part (data.partial=true)."
            ) from error
        raise
    warn_if_not_published(form.name, list(zip(form.files, source.files, strict=True)))
    return list(source.files[:-1]), list(source.files[-1:])


def _partial(form: Published, root: str | None) -> tuple[list[Path], list[Path]]:
    place = str(fetch_folder()) if root is None else root
    train, test = _parts(form, place) if Path(place).expanduser().is_dir() else ([], [])
    if not train or not test:
        raise CapsbenchError(
            f"data.root={place}: expected at least one data_batch file to train on and one test_batch file to test on "
            f"({form.title}), found {_names([*train, *test]) or 'neither'}"
        )
    return train, test


def _parts(form: Published, root: str) -> tuple[list[Path], list[Path]]:
    """Whatever training and test files there are, in the folder that has most of them."""
    folder = existing(root, "data.root")
    found = []
    for place in form.folders:
        paths = sorted(path for path in (folder / place).glob("*") if path.is_file())
        train, test = ([path for path in paths if pattern.fullmatch(path.name)] for pattern in PART[form.title])
        found.append((train, test))
    return max(found, key=lambda both: len(both[0]) + len(both[1]))


def _together(
    paths: list[Path], read: Reader
) -> tuple[UInt8[np.ndarray, "images 3 32 32"], UInt8[np.ndarray, " images"]]:
    parts = []
    for path in paths:
        images, labels = read(path)
        if labels.max() > 9:
            where = int(labels.argmax())
            raise CapsbenchError(f"{path}: expected labels from 0 to 9, found {labels[where]} in record {where + 1:,}")
        parts.append((images, labels))
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)
