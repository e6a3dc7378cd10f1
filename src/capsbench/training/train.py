"""One run from configuration to result."""

import contextlib
import json
import logging
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from capsbench.config import Config
from capsbench.data.batches import EvalBatches, TrainBatches
from capsbench.data.splits import Splits, load_splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation.cost import reset_peak_memory
from capsbench.files import write_atomic
from capsbench.models.build import build_model
from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.callbacks.clock import Clock
from capsbench.training.callbacks.metrics import MetricsWriter
from capsbench.training.callbacks.progress import Progress
from capsbench.training.hardware import Machine, pick_accelerator, pick_precision
from capsbench.training.identity import evaluation_digest, is_done, plain
from capsbench.training.metrics_csv import MetricsCsv
from capsbench.training.provenance import provenance
from capsbench.training.results import measure, write_result
from capsbench.training.runs import Claim, RunFolder, run_folder, run_record
from capsbench.training.task import ClassificationTask
from capsbench.training.tracking import Tracker, start_tracking

log = logging.getLogger(__name__)


def run(cfg: Config) -> dict[str, Any]:
    """Train, evaluate and keep one run, from wherever it stands.

    A finished run is returned as it is; one that was trained but asks for other evaluations is evaluated again; one
    that was stopped goes on from its last checkpoint.

    Returns:
        The contents of result.json.

    Raises:
        CapsbenchError: for a user's mistake, a run that is in use elsewhere, or a loss that is not a number.
    """
    folder = run_folder(cfg)
    if is_done(folder, cfg):
        log.info("%s is done already", folder.path)
        return folder.result()
    with Claim(folder.path):
        if is_done(folder, cfg):
            return folder.result()
        record, origin = run_record(cfg), provenance()
        (folder.path / "failed.json").unlink(missing_ok=True)
        write_atomic(folder.path / "config.yaml", yaml.safe_dump(plain(cfg), sort_keys=False))
        write_atomic(folder.path / "provenance.json", _json(origin))
        with _log_file(folder.path / "train.log"):
            try:
                return _run(cfg, folder, record, origin)
            except Exception as error:
                failure = {
                    "schema": 1,
                    "state": "failed",
                    "run": record,
                    "error": f"{type(error).__name__}: {error}".splitlines()[0],
                    "traceback": traceback.format_exc(),
                    "provenance": origin,
                }
                write_atomic(folder.path / "failed.json", _json(failure))
                log.debug("run failed", exc_info=True)
                raise


def _run(cfg: Config, folder: RunFolder, record: dict[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    machine = _prepare(cfg)
    reset_peak_memory(machine.device)
    splits = load_splits(cfg.data)
    model = build_run_model(cfg, splits)
    batches = train_batches(cfg, splits, machine.device)
    planned = cfg.trainer.steps or len(batches) * cfg.trainer.epochs
    task = ClassificationTask(cfg, model, len(splits.classes), planned)
    checkpoint = folder.path / "last.ckpt"
    resumed = checkpoint.exists()
    tracker = start_tracking(folder.path, cfg, record, plain(cfg), resumed)
    exit_code = 1
    try:
        clock, checkpoints = _fit(cfg, folder.path, machine, task, batches, splits, tracker)
        measured = measure(cfg, folder.path, machine, model, splits, clock, checkpoints)
        measured.metrics["time/wall_seconds"] = round(time.perf_counter() - started, 2)
        result = write_result(folder.path, record, plain(cfg), measured, origin, evaluation_digest(cfg))
        if tracker is not None:
            tracker.log_summary(result["metrics"])
            log_reconstructions(tracker, measured.pictures, planned)
        exit_code = 0
    finally:
        if tracker is not None:
            tracker.finish(exit_code)
    return result


def log_reconstructions(tracker: Tracker, pictures: dict[str, NDArray[Any]], step: int) -> None:
    """Show the test images above their reconstructions in W&B."""
    if pictures:
        pairs = np.concatenate([pictures["images"], pictures["reconstructions"]], axis=2)
        captions = [f"{label} seen as {seen}" for label, seen in zip(pictures["labels"], pictures["predicted"], strict=True)]
        tracker.log_pictures("reconstructions", pairs, captions, step)


def _prepare(cfg: Config) -> Machine:
    """Seeds, threads and the choice of hardware."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning's own use of a PyTorch name that is to go; nothing a user of this package can mend.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", module="pytorch_lightning")
    if cfg.trainer.threads is not None:
        torch.set_num_threads(cfg.trainer.threads)
    pl.seed_everything(cfg.seed, verbose=False)
    accelerator = pick_accelerator(cfg)
    return Machine(accelerator, pick_precision(cfg, accelerator))


def build_run_model(cfg: Config, splits: Splits) -> nn.Module:
    """The run's network for its images, with weights from `trainer.init_from` if that is given."""
    channels, height, width = splits.train_images.shape[1:]
    if height != width:
        raise CapsbenchError(f"data.name={cfg.data.name}: images must be square, not {height}x{width}")
    model = build_model(cfg.model, channels, height + 2 * cfg.data.pad, len(splits.classes))
    if cfg.trainer.init_from is not None:
        load_weights(model, Path(cfg.trainer.init_from))
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a run's last.ckpt or best.ckpt.

    Raises:
        CapsbenchError: if the file is missing, damaged or of another model.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CapsbenchError(f"no checkpoint at {path}") from None
    except Exception as error:
        raise CapsbenchError(f"{path} is not a readable checkpoint: {error}") from error
    state = content.get("model") if isinstance(content, dict) else None
    if state is None and isinstance(content, dict):
        prefix = "model."
        state = {n.removeprefix(prefix): v for n, v in content.get("state_dict", {}).items() if n.startswith(prefix)}
    try:
        model.load_state_dict(state or {})
    except RuntimeError as error:
        raise CapsbenchError(f"{path} holds the weights of another model: {error}") from None


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


def _fit(
    cfg: Config,
    folder: Path,
    machine: Machine,
    task: ClassificationTask,
    batches: TrainBatches,
    splits: Splits,
    tracker: Tracker | None,
) -> tuple[Clock, Checkpoints]:
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
        if checkpoint.exists():
            step = _checkpoint_step(checkpoint)
            metrics.drop_after(step)
            log.info("going on from step %d of %d", step, task.planned_steps)
        trainer.fit(
            task, batches, validation, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    return clock, checkpoints


def _checkpoint_step(path: Path) -> int:
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception as error:
        raise CapsbenchError(
            f"{path} is not a readable checkpoint ({error}); remove it to start the run from scratch"
        ) from error


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, default=str) + "\n"
