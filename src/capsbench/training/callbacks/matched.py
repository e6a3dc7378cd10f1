"""Out-of-distribution accuracy beside in-distribution accuracy while training, and the weights where models are equal.

Sabour, Frosst and Hinton 2017 (section 5.1) stop a CapsNet at 99.23 % and a CNN at 99.22 % on shifted digits before
they compare them on affNIST: a network that is better in distribution would be better out of it for that reason alone.
Here the weights of the first epoch whose validation accuracy reaches `evaluation.matched.accuracy` are kept; validation
images are not shifted. Out of distribution are affNIST-like *validation* images or, where `data.viewpoint` leaves some
of smallNORB's viewpoints novel, training toys seen from there (Hinton, Sabour and Frosst 2018, section 5.1); nothing is
selected by them, and test images are not looked at.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from capsbench.config import Config, Viewpoint
from capsbench.data.splits import Splits
from capsbench.evaluation.predict import predict
from capsbench.evaluation.subset import subset
from capsbench.evaluation.transforms import draw_parameters, transform
from capsbench.training.hardware import Machine
from capsbench.training.task import ClassificationTask
from capsbench.training.weights import save_checkpoint

FILE = "matched.ckpt"
STREAM = 22


def follows(cfg: Config) -> bool:
    """Whether a run follows its out-of-distribution accuracy."""
    asked = cfg.evaluation.matched.enabled
    if asked is not None:
        return asked
    return novel(cfg) or (cfg.data.pad > 0 and not cfg.data.overlap)


def novel(cfg: Config) -> bool:
    """Whether novel viewpoints, rather than affine transformations, are out of distribution."""
    return cfg.data.viewpoint is not Viewpoint.all


def unlike_training(
    splits: Splits, cfg: Config
) -> tuple[UInt8[Tensor, "images channels height width"], Int64[Tensor, "images"]]:
    """`evaluation.matched.images` images that are out of distribution, as the network sees them, with their labels."""
    if not novel(cfg):
        return shifted_validation(splits, cfg)
    assert splits.novel_images is not None
    assert splits.novel_labels is not None
    chosen = subset(len(splits.novel_images), cfg.evaluation.matched.images, cfg.evaluation.affine.seed, STREAM)
    return functional.pad(splits.novel_images.cpu()[chosen], [cfg.data.pad] * 4), splits.novel_labels.cpu()[chosen]


def shifted_validation(
    splits: Splits, cfg: Config
) -> tuple[UInt8[Tensor, "images channels height width"], Int64[Tensor, "images"]]:
    """`evaluation.matched.images` validation images under one affNIST-like transformation each, padded, with labels."""
    seed, pad = cfg.evaluation.affine.seed, cfg.data.pad
    chosen = subset(len(splits.validation_images), cfg.evaluation.matched.images, seed, STREAM)
    images = splits.validation_images.cpu()[chosen]
    return transform(images, draw_parameters(images, 1, pad, seed)[:, 0], pad), splits.validation_labels.cpu()[chosen]


class Matched(pl.Callback):
    """Logs accuracy out of distribution at every validation and writes matched.ckpt once; idle unless the run follows.

    It is `val/affine_accuracy`, or `val/novel_accuracy` of viewpoints.

    It is always among the callbacks, so that a run can be evaluated again with it switched off.

    Attributes:
        history: one row per validation: epoch, accuracy (validation) and affine_accuracy or novel_accuracy.
        reached: the row at which the validation accuracy was first high enough, with the threshold it was held to.
    """

    def __init__(self, folder: Path, cfg: Config, splits: Splits, machine: Machine) -> None:
        self.path, self.cfg, self.machine = folder / FILE, cfg, machine
        self.history: list[dict[str, float]] = []
        self.reached: dict[str, float] | None = None
        self.shown: tuple[Tensor, Tensor] | None = None
        self.name = "novel_accuracy" if novel(cfg) else "affine_accuracy"
        if follows(cfg) and len(splits.validation_images):
            images, labels = unlike_training(splits, cfg)
            self.shown = images.to(machine.device), labels

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.shown is None:
            return
        assert isinstance(pl_module, ClassificationTask)
        images, labels = self.shown
        device, size = self.machine.device, self.cfg.trainer.eval_batch_size
        answers = predict(pl_module.model, images, device, size, 0, self.machine.autocast)
        accuracy = (answers.predicted == labels).double().mean()
        pl_module.log(f"val/{self.name}", accuracy.float(), logger=False, rank_zero_only=True)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.shown is None:
            return
        assert isinstance(pl_module, ClassificationTask)
        found = trainer.callback_metrics
        row = {
            "epoch": trainer.current_epoch,
            "accuracy": float(found["val/accuracy"]),
            self.name: float(found[f"val/{self.name}"]),
        }
        self.history.append(row)
        if self.reached is None and row["accuracy"] >= self.cfg.evaluation.matched.accuracy:
            self.reached = {**row, "threshold": self.cfg.evaluation.matched.accuracy}
            if trainer.is_global_zero:
                content = {"epoch": trainer.current_epoch, "model": pl_module.model.state_dict()}
                save_checkpoint(content, self.path)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self.history), "reached": self.reached}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self.reached = list(state_dict["history"]), state_dict["reached"]
