"""Runs that are tracked for the tests of tracking and uploading, without training anything."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from capsbench.config import Config, WandbMode
from capsbench.training.tracking import Tracker, start_tracking

RUN = {"id": "capsnet_r3-1a2b3c4d-s01", "group": "quick", "arm": "capsnet_r3", "seed": 1, "hash": "1a2b3c4d"}
RESOLVED = {
    "seed": 1,
    "model": {"name": "capsnet", "routing": {"iterations": 3}},
    "storage": "postgresql://ann:hunter2@db/optuna",
    "api_key": "0123",
}


def run_path(root: Path, seed: int = 1, group: str = "quick") -> Path:
    """The folder of a run below `root`, made where it is missing."""
    path = root / group / "capsnet_r3_1a2b3c4d" / f"seed{seed:02d}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def track(folder: Path, mode: str = "offline", *, resumed: bool = False, seed: int = 1) -> Tracker:
    """Start tracking a run in `folder`."""
    cfg = Config()
    cfg.logger.wandb = WandbMode(mode)
    run = {**RUN, "seed": seed, "id": f"capsnet_r3-1a2b3c4d-s{seed:02d}"}
    tracker = start_tracking(folder, cfg, run, RESOLVED, resumed)
    assert tracker is not None
    return tracker


def tracked_run(folder: Path, steps: Iterable[int], *, resumed: bool = False, seed: int = 1, exit_code: int = 0) -> str:
    """Track a run that logs one loss per step, and return its W&B run id."""
    tracker = track(folder, resumed=resumed, seed=seed)
    for step in steps:
        tracker.log({"train/loss": loss(step)}, step)
    tracker.finish(exit_code)
    return tracker.run_id


def loss(step: int) -> float:
    """What the run logs at a step, every time it comes to that step."""
    return 1 / (1 + step)


def pictures(count: int) -> np.ndarray:
    """Different grey pictures, uint8 of shape (count, 1, 28, 28)."""
    return np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)


def write_metrics(folder: Path, steps: Iterable[int]) -> None:
    """The run's own record of the same losses."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "epoch", "seconds", "train/loss", "val/accuracy"])
        writer.writerows([step, 0, step / 10, loss(step), ""] for step in steps)


def write_config(folder: Path) -> None:
    """As much of the run's own record of what it is as an upload needs where W&B has none."""
    values = {
        **RESOLVED,
        "run": {"group": RUN["group"], "arm": RUN["arm"], "notes": ""},
        "logger": {"project": "capsbench", "entity": None},
    }
    (folder / "config.yaml").write_text(json.dumps(values))
    (folder / "provenance.json").write_text(json.dumps({"started": "2026-01-01T00:00:00+00:00"}))


def write_result(folder: Path) -> None:
    """Mark the run as done."""
    (folder / "result.json").write_text(json.dumps({"schema": 1, "state": "done", "metrics": {"test/errors": 61}}))
