"""A run small enough for a test: 28x28 digits that a few steps can learn, and networks of a few thousand weights."""

import csv
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from capsbench.compose import compose
from capsbench.config import Config
from capsbench.data.splits import Splits

CAPSNET = (
    "model=capsnet_small",
    "model.stem_channels=4",
    "model.primary_types=2",
    "model.primary_dim=4",
    "model.class_dim=4",
    "model.decoder_hidden=[8]",
)
CNN = ("model=cnn_small", "model.channels=[2,4]", "model.hidden=[8]")
RUN = (
    "trainer.batch_size=8",
    "trainer.eval_batch_size=32",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.log_every=2",
    "optimizer=adam_scaled",
    "evaluation=minimal",
    "logger=csv",
)


def tiny_splits(train: int = 40, validation: int = 16, test: int = 30) -> Splits:
    """Noisy images of which every class has a bright bar of its own."""
    images, labels = tiny_images(train + validation + test)
    parts = [slice(0, train), slice(train, train + validation), slice(train + validation, None)]
    arrays = [array[part] for part in parts for array in (images, labels)]
    return Splits(*arrays, classes=tuple("0123456789"))


def tiny_images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` images as bytes with their classes."""
    draw = np.random.default_rng(11)
    labels = np.arange(count) % 10
    images = draw.integers(0, 60, (count, 1, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 + 2 * label : 6 + 2 * label, 5:23] = 255
    return torch.from_numpy(images), torch.from_numpy(labels)


def tiny_config(root: Path, *overrides: str, model: tuple[str, ...] = CAPSNET) -> Config:
    """A run of two epochs of five steps below `root`."""
    return compose([*RUN, *model, "trainer.epochs=2", f"run.root={root}", *overrides])


class Trained(NamedTuple):
    """A finished run: its configuration, folder and result."""

    cfg: Config
    folder: Path
    result: dict[str, Any]

    def copy(self, root: Path) -> Path:
        """The run's folder once more, below another root, as if it had been trained there."""
        target = root / self.folder.relative_to(self.cfg.run.root)
        shutil.copytree(self.folder, target)
        return target


def _plain(value: Any) -> Any:
    """Nested state as lists, numbers as tensors, so that one call compares it all."""
    if isinstance(value, dict):
        return [[_plain(str(key)), _plain(value[key])] for key in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str) or value is None:
        return torch.tensor(list(str(value).encode()))
    return value if isinstance(value, torch.Tensor) else torch.tensor(value)


def read_rows(path: Path) -> list[dict[str, str]]:
    """metrics.csv without the clock, which no two runs share."""
    with path.open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a last.ckpt or best.ckpt."""
    content = torch.load(path, weights_only=True)
    return content["state_dict"] if "state_dict" in content else content["model"]


def read_state(path: Path) -> dict[str, Any]:
    """All else in a last.ckpt that a next step would depend on: optimiser, schedule, generators, place in the data."""
    content = torch.load(path, weights_only=True)
    names = ("global_step", "epoch", "optimizer_states", "lr_schedulers", "generators")
    loader = content["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    return {**{name: content[name] for name in names}, "data": loader}


def assert_same_run(folder: Path, other: Path) -> None:
    """Both folders hold the same run, bit for bit: weights and all other state, metrics and predictions."""
    pair = (read_state(folder / "last.ckpt"), read_state(other / "last.ckpt"))
    torch.testing.assert_close(*(_plain(state) for state in pair), rtol=0, atol=0)
    for name in ("last.ckpt", "best.ckpt"):
        weights, others = read_weights(folder / name), read_weights(other / name)
        assert weights.keys() == others.keys()
        for key, value in weights.items():
            assert torch.equal(value, others[key]), f"{name}: {key}"
    assert read_rows(folder / "metrics.csv") == read_rows(other / "metrics.csv")
    with np.load(folder / "predictions.npz") as one, np.load(other / "predictions.npz") as two:
        assert sorted(one) == sorted(two)
        for key in one:
            np.testing.assert_array_equal(one[key], two[key])
