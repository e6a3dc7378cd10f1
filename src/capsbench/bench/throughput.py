"""The same compiled step in a bare loop, and through everything that `capsbench train` puts around it.

Both take their batches from the same place; `lightning` adds the Trainer, callbacks, metrics.csv and progress. What is
timed is a stretch of steps from end to end, as one step's time says nothing of work that is put off.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from typing_extensions import override

from capsbench.config import Config
from capsbench.data.batches import Batch, TrainBatches
from capsbench.data.splits import load_splits
from capsbench.evaluation.cost import macs
from capsbench.training.callbacks.clock import Clock
from capsbench.training.compilation import compiled_or_eager
from capsbench.training.compiled_forward import compile_forward
from capsbench.training.fit import make_trainer, train_batches
from capsbench.training.hardware import Machine
from capsbench.training.metrics_csv import MetricsCsv
from capsbench.training.task import ClassificationTask
from capsbench.training.train import build_run_model


class Subject:
    """One network with its training batches and its compiled step, which both loops share."""

    def __init__(self, cfg: Config, batch: int, machine: Machine) -> None:
        quiet = replace(cfg.trainer, batch_size=batch, progress=False, compile=False)
        self.cfg, self.machine = replace(cfg, trainer=quiet), machine
        splits = load_splits(self.cfg.data)
        self.batches = train_batches(self.cfg, splits, machine.device)
        self.task = ClassificationTask(self.cfg, build_run_model(self.cfg, splits), planned_steps=10**9).to(
            machine.device
        )
        example = self.batches.example()
        # Before anything is compiled: counting operators would have the compiler pass the network over for good.
        _, channels, height, width = example[0].shape
        self.macs = macs(self.task.model.eval(), (channels, height, width), machine.device)
        self.task.model.train()
        compile_forward(self.task.model, example[0], machine.autocast)
        with machine.autocast():
            self.task.step_losses, _ = compiled_or_eager(self.task.step_losses, self.task.model, *example)

    def bare(self, steps: int) -> list[float]:
        """Seconds per step of a loop that anyone would write by hand."""
        optimizer = torch.optim.Adam(self.task.model.parameters(), lr=1e-4, fused=True)
        batches = endless(self.batches)
        self._bare_step(optimizer, *next(batches))
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self._bare_step(optimizer, *next(batches))
        self._wait()
        return [(time.perf_counter() - started) / steps]

    def lightning(self, steps: int) -> list[float]:
        """Seconds per step through the Trainer with all that a run has around it but validation and checkpoints."""
        stretch = Stretch(self)
        self.task.planned_steps = steps + 1
        with tempfile.TemporaryDirectory() as folder, quiet_trainer():
            metrics = MetricsCsv(Path(folder) / "metrics.csv")
            trainer = make_trainer(self.cfg, Path(folder), self.machine, self.task, metrics, None, [Clock(), stretch])
            trainer.fit(self.task, self.batches)
        return [stretch.seconds / steps]

    def _bare_step(self, optimizer: torch.optim.Optimizer, *batch: torch.Tensor) -> None:
        with self.machine.autocast():
            losses, _ = self.task.step_losses(*batch)
        optimizer.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _wait(self) -> None:
        if self.machine.device.type == "cuda":
            torch.cuda.synchronize()


class Stretch(pl.Callback):
    """Seconds from the end of the first step to the end of the last."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.started = self.seconds = 0.0

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 1:
            self.subject._wait()
            self.started = time.perf_counter()

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.subject._wait()
        self.seconds = time.perf_counter() - self.started


def endless(batches: TrainBatches) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from batches


@contextlib.contextmanager
def quiet_trainer() -> Iterator[None]:
    """Keep Lightning from introducing itself in every turn."""
    import logging
    import warnings

    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)
