"""How far a run is: a progress bar, and a small file for whoever watches from another process."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm
from typing_extensions import override

FILE = "progress.json"
FILE_SECONDS = 1.0


class Progress(pl.Callback):
    """Optimiser steps done, and the last validation accuracy; reads nothing from the device.

    Args:
        folder: where `progress.json` goes.
        name: what the bar is called.
        planned_steps: its end.
        show: whether to draw the bar.
    """

    def __init__(self, folder: Path, name: str, planned_steps: int, *, show: bool) -> None:
        self.path, self.name, self.planned_steps, self.show = folder / FILE, name, planned_steps, show
        self.bar: tqdm[Any] | None = None
        self.accuracy: float | None = None
        self.written = 0.0

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and self.show:
            self.bar = tqdm(
                total=self.planned_steps,
                initial=trainer.global_step,
                desc=self.name,
                unit="step",
                mininterval=0.5 if sys.stderr.isatty() else 10.0,
                dynamic_ncols=True,
            )

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.bar is not None:
            self.bar.update()
        if trainer.is_global_zero and time.monotonic() - self.written > FILE_SECONDS:
            self.write(trainer)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.accuracy = float(trainer.callback_metrics["val/accuracy"])
        if self.bar is not None:
            self.bar.set_postfix_str(f"epoch {trainer.current_epoch + 1}, validation {self.accuracy:.2%}")
        if trainer.is_global_zero:
            self.write(trainer)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.close()

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.close()

    def write(self, trainer: pl.Trainer) -> None:
        """Replace the file; not worth a flush to disk, nor a failed run."""
        values = {
            "step": trainer.global_step,
            "steps": self.planned_steps,
            "epoch": trainer.current_epoch,
            "val/accuracy": self.accuracy,
        }
        waiting = self.path.with_name(f".{FILE}.tmp")
        try:
            waiting.write_text(json.dumps(values))
            waiting.replace(self.path)
        except OSError:
            return
        self.written = time.monotonic()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
