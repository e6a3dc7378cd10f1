"""The four IDX files of a data set, wherever they are: read, and proved against what was published."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsbench.data.asset import MEND, unpack
from capsbench.data.dataset import Dataset, tensors
from capsbench.data.formats.idx import parse_idx, read_bytes
from capsbench.data.published import Published
from capsbench.data.sources import Source, locate
from capsbench.data.verification import identify, is_proved, md5, remember, warn_if_not_published
from capsbench.errors import CapsbenchError


def load_idx(published: Published, root: str | None) -> Dataset:
    """A data set of four IDX files: training images and labels, test images and labels.

    Raises:
        CapsbenchError: files are missing, damaged, or not images and labels of this data set.
    """
    named = list(read_arrays(published, locate(published, root)).items())
    train_images, train_labels = _images_and_labels(published, *named[:2])
    test_images, test_labels = _images_and_labels(published, *named[2:])
    return Dataset(published.name, train_images, train_labels, test_images, test_labels, published.classes)


def read_arrays(published: Published, source: Source) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The data set's arrays, read-only, in the order of `Published.files`; the keys say where each comes from.

    The bundled copy must be what was published; that is proved once for each state of the asset. The user's own files
    need not be; where they differ, one line in the log says so.

    Raises:
        CapsbenchError: a file cannot be read, is damaged or is no IDX file, or the bundled copy is not what was
            published.
    """
    if source.asset is None:
        contents: Sequence[bytearray | memoryview] = [read_bytes(path) for path in source.files]
        warn_if_not_published(published.name, list(zip(published.files, source.files, strict=True)))
        names = [str(path) for path in source.files]
    else:
        identity = identify(source.asset)
        contents = read_asset(published, source)
        checksums = [str(file.md5) for file in published.files]
        if not is_proved(identity, checksums):
            require_published(published, source, contents)
            remember(identity, checksums)
        names = [f"{source.asset}: {file.name}" for file in published.files]
    return {name: parse_idx(content, name) for name, content in zip(names, contents, strict=True)}


def read_asset(published: Published, source: Source) -> list[memoryview]:
    """The files inside the bundled copy."""
    assert source.asset is not None
    return unpack(source.asset, [file.size or 0 for file in published.files])


def require_published(published: Published, source: Source, contents: Sequence[bytearray | memoryview]) -> None:
    """Refuse contents of the bundled copy that are not what was published."""
    for file, content in zip(published.files, contents, strict=True):
        found = md5(content)
        if found != file.md5:
            raise CapsbenchError(
                f"the bundled data {source.asset} are damaged: expected {file.name} with md5 {file.md5}, "
                f"found {found}. {MEND}"
            )


def _images_and_labels(
    published: Published, named_images: tuple[str, np.ndarray], named_labels: tuple[str, np.ndarray]
) -> tuple[UInt8[Tensor, "images channels height width"], Int64[Tensor, " images"]]:
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
    return tensors(images.reshape(-1, channels, height, width), labels, len(published.classes), label_name)
