"""Training time, without validation and checkpoints, kept across resumes."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from typing_extensions import override


class Clock(pl.Callback):
    """Seconds spent in training steps, per epoch, and when each validation accuracy was reached.

    The device is waited for at the ends of epochs only.

    Attributes:
        epochs: training seconds of every finished epoch.
        history: one row per validation: training seconds so far and validation accuracy.
    """

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.history: list[dict[str, float]] = []
        self.before = 0.0
        self.started: float | None = None

    @property
    def seconds(self) -> float:
        """Training seconds so far."""
        return sum(self.epochs) + self.in_epoch()

    def in_epoch(self) -> float:
        """Training seconds of the unfinished epoch."""
        return self.before + (0.0 if self.started is None else time.perf_counter() - self.started)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not at the start of the epoch: Lightning announces none when a run goes on in the middle of one.
        if self.started is None:
            _wait_for_device()
            self.started = time.perf_counter()

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _wait_for_device()
        self.epochs.append(self.in_epoch())
        self.before, self.started = 0.0, None

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["val/accuracy"])
        self.history.append({"seconds": self.seconds, "accuracy": accuracy})

    def seconds_to(self, accuracy: float) -> float | None:
        """Training seconds after which a validation first reached this accuracy; None if none did."""
        return next((row["seconds"] for row in self.history if row["accuracy"] >= accuracy), None)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"epochs": list(self.epochs), "history": list(self.history), "before": self.in_epoch()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.history = list(state_dict["epochs"]), list(state_dict["history"])
        self.before = state_dict["before"]


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
