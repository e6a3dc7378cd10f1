"""Lightning's Trainer put together for one run, and the choice between the compiled and the eager step."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from capsbench.config import Config
from capsbench.data.augment import augmentation
from capsbench.data.batches import EvalBatches, TrainBatches
from capsbench.data.pair_batches import EvalPairs, TrainPairs
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.callbacks.clock import Clock
from capsbench.training.callbacks.finite import NoUpdateAfterNonFinite
from capsbench.training.callbacks.matched import Matched
from capsbench.training.callbacks.metrics import MetricsWriter
from capsbench.training.callbacks.progress import Progress
from capsbench.training.callbacks.pruning import linked_pruning
from capsbench.training.compilation import StepTime, compiled_or_eager, decide, eager_time, step_seconds
from capsbench.training.hardware import Machine
from capsbench.training.metrics_csv import MetricsCsv
from capsbench.training.ranks import rank
from capsbench.training.runs import Claim
from capsbench.training.task import ClassificationTask
from capsbench.training.tracking import Tracker
from capsbench.training.weights import CheckpointFiles, load_weights, read_head

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
    if cfg.trainer.batch_size % cfg.trainer.devices:
        raise CapsbenchError(
            f"trainer.batch_size={cfg.trainer.batch_size} is the batch of all devices together and must be a multiple "
            f"of trainer.devices={cfg.trainer.devices}"
        )
    batches = TrainPairs if cfg.data.overlap else TrainBatches
    return batches(
        splits.train_images,
        splits.train_labels,
        batch_size=cfg.trainer.batch_size,
        pad=cfg.data.pad,
        shift=cfg.data.shift,
        seed=cfg.seed,
        device=device,
        limit=cfg.trainer.limit_batches,
        repeat=cfg.trainer.overfit_batches,
        rank=rank(),
        world=cfg.trainer.devices,
        augment=augmentation(cfg.data),
        round_steps=cfg.trainer.validate_steps,
    )


def validation_batches(cfg: Config, splits: Splits, device: torch.device) -> EvalBatches | EvalPairs:
    """The run's validation images, or pairs of them, on the device."""
    images, labels = splits.validation_images, splits.validation_labels
    size, pad, limit = cfg.trainer.eval_batch_size, cfg.data.pad, cfg.trainer.limit_batches
    shared: dict[str, Any] = {"batch_size": size, "pad": pad, "device": device, "limit": limit}
    shared |= {"rank": rank(), "world": cfg.trainer.devices}
    if cfg.data.overlap:
        return EvalPairs(images, labels, shift=cfg.data.shift, seed=cfg.data.split_seed, **shared)
    return EvalBatches(images, labels, **shared)


def fit(
    cfg: Config,
    folder: Path,
    machine: Machine,
    task: ClassificationTask,
    batches: TrainBatches,
    splits: Splits,
    tracker: Tracker | None,
    claim: Claim | None = None,
) -> tuple[Clock, Matched, Checkpoints]:
    """Train until the planned steps are done, from the run's last checkpoint where there is one.

    Raises:
        Pruned: if the search that the run belongs to ended it early.
    """
    metrics = MetricsCsv(folder / "metrics.csv")
    clock, checkpoints = Clock(), Checkpoints(folder, cfg.trainer.checkpoint_minutes, claim)
    matched = Matched(folder, cfg, splits, machine)
    pruning = linked_pruning()
    callbacks = [clock, matched, *([pruning] if pruning is not None else []), checkpoints]
    trainer = make_trainer(cfg, folder, machine, task, metrics, tracker, callbacks)
    validation = validation_batches(cfg, splits, machine.device)
    checkpoint = folder / "last.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        before = read_head(checkpoint) if checkpoint.exists() else None
        if before is not None:
            # Lightning will do so once more, but has only a traceback for weights that are not this model's.
            load_weights(task.model, checkpoint)
        if rank() == 0:
            metrics.drop_after(before.step if before else 0)
        if before is None:
            choose_step(cfg, task, batches, machine)
        elif before.step < task.planned_steps:
            log.info("going on from step %d of %d", before.step, task.planned_steps)
            # As the run began, whatever would repay itself now: a resumed run equals one that never stopped.
            choose_step(replace(cfg, trainer=replace(cfg.trainer, compile=before.compiled)), task, batches, machine)
        with _interruptible(trainer):
            trainer.fit(task, batches, validation, ckpt_path=checkpoint if before else None, weights_only=True)
    if pruning is not None and pruning.stopped is not None:
        raise pruning.stopped
    return clock, matched, checkpoints


def make_trainer(
    cfg: Config,
    folder: Path,
    machine: Machine,
    task: ClassificationTask,
    metrics: MetricsCsv,
    tracker: Tracker | None,
    callbacks: Sequence[pl.Callback],
) -> pl.Trainer:
    """Lightning's Trainer with this package's own logging and progress.

    Args:
        cfg: the run.
        folder: the run's folder.
        machine: device and precision.
        task: what is trained.
        metrics: where metrics go.
        tracker: the W&B mirror, if there is one.
        callbacks: a `Clock`, and what else is to be called after metrics are written, in this order.
    """
    clock, *others = callbacks
    assert isinstance(clock, Clock)
    progress = Progress(folder, f"{cfg.run.arm} seed {cfg.seed}", task.planned_steps, show=cfg.trainer.progress)
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=cfg.trainer.devices,
        # Buffers are the same on all ranks by construction; sent anew in every step they would need equally many
        # validation batches on all of them.
        strategy=DDPStrategy(broadcast_buffers=False) if cfg.trainer.devices > 1 else "auto",
        sync_batchnorm=cfg.trainer.devices > 1 and machine.accelerator == "cuda",
        precision=machine.precision,  # type: ignore[arg-type]
        max_steps=task.planned_steps,
        max_epochs=-1,
        gradient_clip_val=cfg.optimizer.clip_norm,
        deterministic=cfg.trainer.deterministic,
        plugins=[CheckpointFiles()],
        logger=[metrics, *([tracker.logger] if tracker is not None else [])],
        callbacks=[clock, NoUpdateAfterNonFinite(), MetricsWriter(cfg.trainer.log_every, clock), progress, *others],
        num_sanity_val_steps=0,
        # MetricsWriter decides when to log; Lightning would only warn of epochs shorter than its own interval.
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def choose_step(cfg: Config, task: ClassificationTask, batches: TrainBatches, machine: Machine) -> None:
    """Compile the training step where that is asked for or repays itself, and say which and why.

    Where nobody asked, a compiled step that turns out to be no faster is not used.
    """
    if cfg.trainer.compile is False or cfg.trainer.devices > 1:
        return
    task.to(machine.device)
    eager, example = task.step_losses, batches.example()
    with machine.autocast():
        forced = cfg.trainer.compile is True
        before = StepTime(0.0, 0.0) if forced else eager_time(eager, task.model, *example)
        decision = decide(cfg, task.planned_steps, before)
        log.info("%s: %s", "compiling the step" if decision.compile else "not compiling the step", decision.reason)
        if not decision.compile:
            return
        step, took = compiled_or_eager(eager, task.model, *example)
        if step is eager:
            return
        log.info("compiled in %.0f s", took)
        after = 0.0 if forced else step_seconds(step, task.model, *example)
    if after > before.seconds:
        log.info(
            "the compiled step takes %.0f ms, the eager one %.0f: training goes on with that",
            1000 * after,
            1000 * before.seconds,
        )
        torch.compiler.reset()
        return
    task.step_losses, task.compiled = step, True


@contextlib.contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Undo what Lightning makes of signals.

    Of Ctrl-C: an exit with status 1, and a process that ignores any further Ctrl-C. Of SIGTERM: an exit with status 0,
    as if the run were done.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
