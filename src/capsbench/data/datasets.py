"""Data sets as tensors: found, proved against what was published, checked."""

import logging
from collections.abc import Callable
from dataclasses import replace

from capsbench.config import Data, DatasetName, Viewpoint
from capsbench.data.affnist import load_affnist
from capsbench.data.cifar10 import load_cifar10
from capsbench.data.dataset import Dataset as Dataset  # noqa: PLC0414 - part of what this file offers
from capsbench.data.folder import load_folder
from capsbench.data.idx_files import load_idx
from capsbench.data.published import FASHION_MNIST, KMNIST, MNIST
from capsbench.data.resize import resized
from capsbench.data.smallnorb import load_smallnorb
from capsbench.data.svhn import load_svhn
from capsbench.data.usps import load_usps
from capsbench.errors import CapsbenchError

log = logging.getLogger(__name__)

LOADERS: dict[DatasetName, Callable[[Data], Dataset]] = {
    DatasetName.mnist: lambda cfg: load_idx(MNIST, cfg.root),
    DatasetName.fashion_mnist: lambda cfg: load_idx(FASHION_MNIST, cfg.root),
    DatasetName.kmnist: lambda cfg: load_idx(KMNIST, cfg.root),
    DatasetName.usps: load_usps,
    DatasetName.cifar10: load_cifar10,
    DatasetName.svhn: load_svhn,
    DatasetName.smallnorb: load_smallnorb,
    DatasetName.affnist: load_affnist,
    DatasetName.folder: load_folder,
}


def load_dataset(cfg: Data) -> Dataset:
    """The data set that `data.name` names, from `data.root`, CAPSBENCH_DATA, the bundled copy or a system package.

    Images are resized where `data.size` says so; nothing else happens to them.

    Raises:
        CapsbenchError: files are missing, damaged, or not images and labels of this data set; or a key was given that
            this data set has no use for.
    """
    _refuse_keys_of_others(cfg)
    dataset = LOADERS[cfg.name](cfg)
    if dataset.about:
        log.log(logging.WARNING if cfg.partial else logging.INFO, "%s", dataset.about)
    if cfg.size is None or dataset.train_images.shape[2:] == (cfg.size, cfg.size):
        return dataset
    if cfg.size < 1:
        raise CapsbenchError(f"data.size={cfg.size}: expected 1 or more")
    return replace(
        dataset,
        train_images=resized(dataset.train_images, cfg.size),
        test_images=resized(dataset.test_images, cfg.size),
        novel_images=None if dataset.novel_images is None else resized(dataset.novel_images, cfg.size),
    )


def _refuse_keys_of_others(cfg: Data) -> None:
    """A key that would be without effect is a mistake, not something to pass over."""
    others = (
        ("partial", False, DatasetName.cifar10),
        ("viewpoint", Viewpoint.all, DatasetName.smallnorb),
        ("file_list", None, DatasetName.folder),
    )
    for name, default, owner in others:
        value = getattr(cfg, name)
        if value != default and cfg.name is not owner:
            raise CapsbenchError(f"data.{name}={value} is for data.name={owner} only, not for {cfg.name}")
