"""last.ckpt, from which a killed run goes on, and best.ckpt, the weights of the best validation epoch."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException
from typing_extensions import override

from capsbench.training.callbacks.finite import stop_if_not_finite, stop_if_spoiled
from capsbench.training.runs import Claim
from capsbench.training.task import ClassificationTask
from capsbench.training.weights import save_checkpoint

SELECTION_RULE = "highest validation accuracy, the lower validation loss among equals"
KEPT = ("last", "last_epoch", "best", "best_epoch")


class Checkpoints(pl.Callback):
    """Writes both files whole or not at all, after the metrics that belong to them.

    Args:
        folder: the run's folder.
        minutes: time between checkpoints inside an epoch.
        claim: the right to write there, which is asked for again before every write; None on ranks that write nothing.

    Attributes:
        last: validation accuracy and negated validation loss of the last epoch.
        best: the same of the weights in best.ckpt.
    """

    def __init__(self, folder: Path, minutes: float, claim: Claim | None = None) -> None:
        self.folder, self.minutes, self.claim = folder, minutes, claim
        self.saved = time.monotonic()
        self.last: tuple[float, float] | None = None
        self.best: tuple[float, float] | None = None
        self.last_epoch = self.best_epoch = -1

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ClassificationTask)
        # From an epoch's last step Lightning would go on without its validation; the epoch's end is about to save.
        if trainer.is_last_batch or trainer.global_step >= pl_module.planned_steps:
            return
        # A cluster that takes its machine back says so half a minute before; Lightning would first end the epoch.
        leaving = trainer.received_sigterm and trainer.world_size == 1
        due = leaving or time.monotonic() - self.saved > 60 * self.minutes
        if trainer.strategy.broadcast(due) if trainer.world_size > 1 else due:
            self.save_last(trainer, pl_module)
        if leaving:
            raise SIGTERMException

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        if "val/accuracy" in metrics:
            self.last = (float(metrics["val/accuracy"]), -float(metrics["val/loss"]))
            self.last_epoch = trainer.current_epoch
            if self.best is None or self.last > self.best:
                self.best, self.best_epoch = self.last, self.last_epoch
                self.save_best(trainer, pl_module)
        self.save_last(trainer, pl_module)

    def save_last(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Everything that going on needs."""
        assert isinstance(pl_module, ClassificationTask)
        self.check(trainer, pl_module)
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self.saved = time.monotonic()

    def save_best(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The model's weights alone."""
        assert isinstance(pl_module, ClassificationTask)
        self.check(trainer, pl_module)
        if trainer.is_global_zero:
            content = {"epoch": trainer.current_epoch, "model": pl_module.model.state_dict()}
            save_checkpoint(content, self.folder / "best.ckpt")

    def check(self, trainer: pl.Trainer, task: ClassificationTask) -> None:
        """Refuse to keep what the run cannot go on from, or to write where it must not any more."""
        stop_if_not_finite(trainer, task)
        stop_if_spoiled(trainer, task)
        if self.claim is not None:
            self.claim.check()

    @override
    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in KEPT:
            setattr(self, name, state_dict[name])
