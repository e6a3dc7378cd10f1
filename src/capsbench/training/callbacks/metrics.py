"""Writes training and validation metrics to the loggers."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from typing_extensions import override

from capsbench.training.callbacks.clock import Clock
from capsbench.training.callbacks.finite import stop_if_not_finite
from capsbench.training.task import ClassificationTask


class MetricsWriter(pl.Callback):
    """Every `every` steps the means since the last row; after every validation its metrics."""

    def __init__(self, every: int, clock: Clock) -> None:
        self.every, self.clock = every, clock

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0:
            self.write_training(trainer, pl_module)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.write_training(trainer, pl_module)
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self.write(trainer, values)

    def write_training(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One row of training means, if any step was done since the last one."""
        assert isinstance(pl_module, ClassificationTask)
        stop_if_not_finite(trainer, pl_module)
        means = pl_module.take_train_means()
        if means:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self.write(trainer, {**means, "lr": float(rate) if isinstance(rate, Tensor) else rate})

    def write(self, trainer: pl.Trainer, values: dict[str, float]) -> None:
        """One row to every logger, under the number of steps done."""
        row = {"epoch": trainer.current_epoch, "seconds": round(self.clock.seconds, 3), **values}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
