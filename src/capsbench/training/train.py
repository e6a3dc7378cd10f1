"""One run from configuration to result."""

import contextlib
import json
import logging
import sys
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
from typing_extensions import override

from capsbench.config import Config
from capsbench.data.batches import TrainBatches
from capsbench.data.splits import Splits, load_splits
from capsbench.data.standardize import standardize_inputs
from capsbench.environment import keep_freed_memory
from capsbench.errors import CapsbenchError
from capsbench.evaluation.cost import reset_peak_memory
from capsbench.files import explained, remove_leftovers, write_atomic
from capsbench.models.build import build_model
from capsbench.training.callbacks.pruning import Pruned
from capsbench.training.compiled_forward import compiled_forward
from capsbench.training.fit import fit, train_batches
from capsbench.training.hardware import Machine, pick_machine, pick_memory_format
from capsbench.training.identity import evaluation_digest, is_done, plain
from capsbench.training.provenance import provenance
from capsbench.training.ranks import rank
from capsbench.training.results import measure, write_result
from capsbench.training.runs import PRUNED_FILE, Claim, RunFolder, State, run_folder, run_record
from capsbench.training.task import ClassificationTask
from capsbench.training.tracking import Tracker, start_tracking
from capsbench.training.weights import load_weights

log = logging.getLogger(__name__)

# What a run measures of itself while it is made, and not again when it is evaluated again.
ONCE = ("time/wall_seconds", "cost/peak_memory_mb")


def run(cfg: Config) -> dict[str, Any]:
    """Train, evaluate and keep one run, from wherever it stands.

    A finished run is returned as it is; one that was trained but asks for other evaluations is evaluated again; one
    that was stopped goes on from its last checkpoint.

    Returns:
        The contents of result.json, or of pruned.json for a run that its search ended early.

    Raises:
        CapsbenchError: for a user's mistake, a run that is in use elsewhere, a disk that is full, or a loss that is not
            a number.
    """
    folder = run_folder(cfg)
    if rank() > 0:
        return train_along(cfg, folder)
    if is_done(folder, cfg):
        log.info("%s is done already", folder.path)
        return folder.result()
    with Claim(folder.path) as claim, explained():
        if is_done(folder, cfg):
            return folder.result()
        remove_leftovers(folder.path)
        record, origin = run_record(cfg), provenance()
        for name in ("failed.json", PRUNED_FILE):
            (folder.path / name).unlink(missing_ok=True)
        write_atomic(folder.path / "config.yaml", yaml.safe_dump(plain(cfg), sort_keys=False))
        if folder.state is not State.done:
            write_atomic(folder.path / "provenance.json", _json(origin))
        with _log_file(folder.path / "train.log"):
            try:
                return _run(cfg, folder, claim, record, origin)
            except Pruned as end:
                result = {
                    "schema": 1,
                    "state": "pruned",
                    "run": record,
                    "epoch": end.epoch,
                    "metrics": end.metrics,
                    "provenance": origin,
                }
                write_atomic(folder.path / PRUNED_FILE, _json(result))
                return result
            except Exception as error:
                failure = {
                    "schema": 1,
                    "state": "failed",
                    "run": record,
                    "error": f"{type(error).__name__}: {error}".splitlines()[0],
                    "traceback": traceback.format_exc(),
                    "provenance": origin,
                }
                # A full disk may refuse this too, and a folder that was taken away is not to be made again.
                with contextlib.suppress(CapsbenchError):
                    claim.check()
                    write_atomic(folder.path / "failed.json", _json(failure))
                log.debug("run failed", exc_info=True)
                raise


def _run(
    cfg: Config, folder: RunFolder, claim: Claim, record: dict[str, Any], origin: dict[str, Any]
) -> dict[str, Any]:
    started = time.perf_counter()
    before = folder.result() if folder.state is State.done else None
    machine, splits, task, batches = _prepared(cfg)
    planned, model = task.planned_steps, task.model
    checkpoint = folder.path / "last.ckpt"
    resumed = checkpoint.exists()
    tracker = start_tracking(folder.path, cfg, record, plain(cfg), resumed)
    exit_code = 1
    try:
        clock, matched, checkpoints = fit(cfg, folder.path, machine, task, batches, splits, tracker, claim)
        # A run that was too short to compile its step is also too short for this.
        faster = compiled_forward(model, splits, cfg, machine) if task.compiled else contextlib.nullcontext()
        with faster:
            measured = measure(cfg, folder.path, machine, model, splits, clock, matched, checkpoints)
        measured.metrics["time/wall_seconds"] = round(time.perf_counter() - started, 2)
        if before is not None:
            # Evaluating again took other time and memory than the run did.
            measured.metrics |= {name: before["metrics"][name] for name in ONCE if name in before["metrics"]}
            origin = {**(before.get("provenance") or {}), "evaluated": origin}
        claim.check()
        result = write_result(folder.path, record, plain(cfg), measured, origin, evaluation_digest(cfg))
        if tracker is not None:
            tracker.log_summary(result["metrics"])
            log_reconstructions(tracker, measured.pictures, planned)
        exit_code = 0
    except Pruned:
        exit_code = 0
        raise
    finally:
        if tracker is not None:
            tracker.finish(exit_code)
    return result


def train_along(cfg: Config, folder: RunFolder) -> dict[str, Any]:
    """What all ranks but the first do: nothing but their share of the training. Returns nothing of interest."""
    machine, splits, task, batches = _prepared(cfg)
    with contextlib.suppress(Pruned):
        fit(cfg, folder.path, machine, task, batches, splits, None)
    return {}


def _prepared(cfg: Config) -> tuple[Machine, Splits, ClassificationTask, TrainBatches]:
    machine = prepare_machine(cfg)
    reset_peak_memory(machine.device)
    splits = load_splits(cfg.data)
    model = build_run_model(cfg, splits)
    model.to(memory_format=pick_memory_format(cfg.model, machine.accelerator))  # type: ignore[call-overload]
    batches = train_batches(cfg, splits, machine.device)
    planned = cfg.trainer.steps or batches.epoch_length * cfg.trainer.epochs
    task = ClassificationTask(cfg, model, planned)
    return machine, splits, task, batches


def log_reconstructions(tracker: Tracker, pictures: dict[str, NDArray[Any]], step: int) -> None:
    """Show the test images above their reconstructions in W&B."""
    if "reconstructions" in pictures:
        pairs = np.concatenate([pictures["images"], pictures["reconstructions"]], axis=2)
        captions = [
            f"{label} seen as {seen}" for label, seen in zip(pictures["labels"], pictures["predicted"], strict=True)
        ]
        tracker.log_pictures("reconstructions", pairs, captions, step)


def prepare_machine(cfg: Config) -> Machine:
    """Seeds, threads, memory and the choice of hardware."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning's own use of a PyTorch name that is to go; nothing a user of this package can mend.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", module="pytorch_lightning")
    # Where SLURM is installed, Lightning asks every process outside a job whether it should not be inside one.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    # The metrics that are logged have come from all ranks already.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*", module="pytorch_lightning")
    if cfg.trainer.threads is not None:
        torch.set_num_threads(cfg.trainer.threads)
    pl.seed_everything(cfg.seed, verbose=False)
    machine = pick_machine(cfg)
    if machine.accelerator == "cpu":
        keep_freed_memory()
    return machine


def build_run_model(cfg: Config, splits: Splits) -> nn.Module:
    """The run's network for its images, with weights from `trainer.init_from` if that is given."""
    # Training images may be larger than the windows of them that the network sees.
    channels, height, width = splits.test_images.shape[1:]
    if height != width:
        raise CapsbenchError(
            f"data.name={cfg.data.name}: images must be square, not {height}x{width}; data.size=64, say, makes them so"
        )
    try:
        model = build_model(cfg.model, channels, height + 2 * cfg.data.pad, len(splits.classes))
    except CapsbenchError as error:
        given = {name: getattr(cfg.data, name) for name in ("size", "crop", "pad") if getattr(cfg.data, name)}
        asked = ", ".join(f"data.{name}={value}" for name, value in given.items())
        raise CapsbenchError(f"{error} (with {asked})" if asked else str(error)) from error
    if cfg.trainer.init_from is not None:
        try:
            load_weights(model, Path(cfg.trainer.init_from))
        except CapsbenchError as error:
            raise CapsbenchError(f"trainer.init_from: {error}") from error
    if cfg.data.standardize:
        standardize_inputs(model)
    return model


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short without a traceback per line: what the run must keep, it says itself."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, default=str) + "\n"
