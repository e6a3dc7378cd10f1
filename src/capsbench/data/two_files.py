"""Data sets that are published as one file of training and one of test examples."""

from collections.abc import Callable
from pathlib import Path

from jaxtyping import Int64, UInt8
from torch import Tensor

from capsbench.data.dataset import Dataset
from capsbench.data.published import Published
from capsbench.data.sources import locate
from capsbench.data.verification import warn_if_not_published

Examples = tuple[UInt8[Tensor, "images channels height width"], Int64[Tensor, " images"]]


def load_two_files(published: Published, root: str | None, read: Callable[[Path], Examples]) -> Dataset:
    """Both files where `root` or the usual places have them, read and compared with what was published.

    Raises:
        CapsbenchError: a file is missing, damaged, or not images and labels of this data set.
    """
    source = locate(published, root)
    train, test = (read(path) for path in source.files)
    warn_if_not_published(published.name, list(zip(published.files, source.files, strict=True)))
    return Dataset(published.name, *train, *test, published.classes)
