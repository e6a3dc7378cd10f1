"""The test images that runs were tested on, read again for pictures; without PyTorch where the data are IDX files."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capsbench.data.asset import unpack
from capsbench.data.formats.idx import parse_idx, read_bytes
from capsbench.data.published import FASHION_MNIST, KMNIST, MNIST, Published
from capsbench.data.sources import locate
from capsbench.errors import CapsbenchError

IDX_SETS = {published.name: published for published in (MNIST, FASHION_MNIST, KMNIST)}

log = logging.getLogger(__name__)


def read_test_images(
    data: dict[str, Any], labels: UInt8[np.ndarray, "images"]
) -> UInt8[np.ndarray, "images channels height width"] | None:
    """Test images of a run, in the order of its predictions.

    Args:
        data: the `data` group of the run's configuration.
        labels: true classes that the run kept with its predictions.

    Returns:
        The images; None where the data set is not on this machine or is another one now (its labels differ).
    """
    try:
        if data.get("name") in IDX_SETS and data.get("size") is None and data.get("crop") is None:
            images, found = _read_idx(IDX_SETS[data["name"]], data.get("root"))
        else:
            images, found = _read_any(data)
    except (CapsbenchError, ImportError, TypeError, ValueError) as error:
        log.debug("no test images for pictures: %s", error)
        return None
    return images if np.array_equal(found, labels) else None


def _read_idx(published: Published, root: str | None) -> tuple[np.ndarray, np.ndarray]:
    source = locate(published, root)
    contents: Sequence[bytearray | memoryview]
    if source.asset is None:
        contents = [read_bytes(path) for path in source.files[2:]]
    else:
        contents = unpack(source.asset, [file.size or 0 for file in published.files])[2:]
    images, labels = (parse_idx(content, published.name) for content in contents)
    return images.reshape(-1, *published.image_shape), labels


def _read_any(data: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from capsbench.config import Data
    from capsbench.data.splits import load_splits

    try:
        cfg = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Data), data))
    except OmegaConfBaseException as error:
        raise CapsbenchError(f"data: {error}") from error
    assert isinstance(cfg, Data)
    if "name" not in data:
        raise CapsbenchError("the run does not say which data it used")
    splits = load_splits(cfg)
    return splits.test_images.numpy(), splits.test_labels.numpy()
