"""Lightning's Trainer put together for one run, and the choice between the compiled and the eager step."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from capsbench.config import Config
from capsbench.data.batches import EvalBatches, TrainBatches
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.callbacks.clock import Clock
from capsbench.training.callbacks.metrics import MetricsWriter
from capsbench.training.callbacks.progress import Progress
from capsbench.training.compilation import compiled_or_eager, decide, eager_seconds
from capsbench.training.hardware import Machine
from capsbench.training.metrics_csv import MetricsCsv
from capsbench.training.task import ClassificationTask
from capsbench.training.tracking import Tracker
from capsbench.training.weights import checkpoint_step

log = logging.getLogger(__name__)


def train_batches(cfg: Config, splits: Splits, device: torch.device) -> TrainBatches:
    """The run's training batches on the device.

    Raises:
        CapsbenchError: if there are fewer training images than a batch holds.
    """
    if len(splits.train_labels) < cfg.trainer.batch_size:
        raise CapsbenchError(
            f"trainer.batch_size={cfg.trainer.batch_size} is more than the {len(splits.train_labels)} training images"
        )
    return TrainBatches(
        splits.train_images,
        splits.train_labels,
        batch_size=cfg.trainer.batch_size,
        pad=cfg.data.pad,
        shift=cfg.data.shift,
        seed=cfg.seed,
        device=device,
        limit=cfg.trainer.limit_batches,
        repeat=cfg.trainer.overfit_batches,
    )


def fit(
    cfg: Config,
    folder: Path,
    machine: Machine,
    task: ClassificationTask,
    batches: TrainBatches,
    splits: Splits,
    tracker: Tracker | None,
) -> tuple[Clock, Checkpoints]:
    """Train until the planned steps are done, from the run's last checkpoint where there is one."""
    metrics = MetricsCsv(folder / "metrics.csv")
    clock, checkpoints = Clock(), Checkpoints(folder, cfg.trainer.checkpoint_minutes)
    progress = Progress(folder, f"{cfg.run.arm} seed {cfg.seed}", task.planned_steps, show=cfg.trainer.progress)
    callbacks: list[pl.Callback] = [clock, MetricsWriter(cfg.trainer.log_every, clock), progress]
    validation = EvalBatches(
        splits.validation_images,
        splits.validation_labels,
        batch_size=cfg.trainer.eval_batch_size,
        pad=cfg.data.pad,
        device=machine.device,
        limit=cfg.trainer.limit_batches,
    )
    trainer = pl.Trainer(
        accelerator=machine.accelerator,
        devices=cfg.trainer.devices,
        precision=machine.precision,  # type: ignore[arg-type]
        max_steps=task.planned_steps,
        max_epochs=-1,
        gradient_clip_val=cfg.optimizer.clip_norm,
        deterministic=cfg.trainer.deterministic,
        logger=[metrics, *([tracker.logger] if tracker is not None else [])],
        callbacks=[*callbacks, checkpoints],
        num_sanity_val_steps=0,
        log_every_n_steps=cfg.trainer.log_every,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    checkpoint = folder / "last.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        step = checkpoint_step(checkpoint) if checkpoint.exists() else 0
        metrics.drop_after(step)
        if step:
            log.info("going on from step %d of %d", step, task.planned_steps)
        if step < task.planned_steps:
            choose_step(cfg, task, batches, machine, step)
        with _interruptible(trainer):
            trainer.fit(
                task, batches, validation, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True
            )
    return clock, checkpoints


def choose_step(cfg: Config, task: ClassificationTask, batches: TrainBatches, machine: Machine, done: int) -> None:
    """Compile the training step where that is asked for or repays itself, and say which and why."""
    if cfg.trainer.compile is False or cfg.trainer.devices > 1:
        return
    task.to(machine.device)
    images, labels = batches.example()
    with machine.autocast():
        forced = cfg.trainer.compile is True
        seconds = 0.0 if forced else eager_seconds(task.step_losses, task.model, images, labels)
        decision = decide(cfg, task.planned_steps - done, seconds)
        log.info("%s: %s", "compiling the step" if decision.compile else "not compiling the step", decision.reason)
        if decision.compile:
            task.step_losses, took = compiled_or_eager(task.step_losses, task.model, images, labels)
            log.info("compiled in %.0f s", took)


@contextlib.contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Undo what Lightning makes of Ctrl-C: an exit with status 1 and a process that ignores any further Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
