"""From a sweep and its run folders to one typed `Ablation`: what is there, what is missing, and what each run measured.

One pass over result.json and predictions.npz. A run belongs to an arm by its group, its arm's name and its hash; runs
of one arm with different hashes are different experiments and are never merged: one hash is reported, the others are
listed as conflicting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from capsbench.errors import CapsbenchError
from capsbench.report.arrays import read_arrays
from capsbench.sweep_file import Arm, Sweep
from capsbench.training.runs import RunFolder, State

SELECTED = "selected"
AFFINE = "affine/errors"


class RunState(StrEnum):
    """A planned run as a report sees it."""

    done = "done"
    failed = "failed"
    running = "running"
    stale = "stale"
    missing = "missing"
    damaged = "damaged"


@dataclass(frozen=True)
class Predictions:
    """Predicted classes of one run, from predictions.npz.

    Attributes:
        label: true classes of the test images.
        last: classes predicted after the last epoch.
        selected: classes predicted at the epoch with the highest validation accuracy, where kept.
        affine_label: true classes of the affNIST-like images, where that test was run.
        affine_predicted: classes predicted for them after the last epoch.
        affine_image: which test image each of them was made from.
    """

    label: UInt8[np.ndarray, "images"]
    last: UInt8[np.ndarray, "images"]
    selected: UInt8[np.ndarray, "images"] | None = None
    affine_label: UInt8[np.ndarray, "affine_images"] | None = None
    affine_predicted: UInt8[np.ndarray, "affine_images"] | None = None
    affine_image: Int32[np.ndarray, "affine_images"] | None = None

    def labels(self, metric: str) -> UInt8[np.ndarray, "images"] | None:
        """True classes of the images of `metric`."""
        return self.affine_label if metric == AFFINE else self.label

    def errors(self, metric: str, checkpoint: str) -> Bool[np.ndarray, "images"] | None:
        """True where the run is wrong, on the images of `metric` at `checkpoint`; None where that was not kept."""
        if metric == AFFINE:
            if self.affine_label is None or self.affine_predicted is None:
                return None
            return np.asarray(self.affine_label != self.affine_predicted)
        predicted = self.selected if checkpoint == SELECTED else self.last
        return None if predicted is None else np.asarray(self.label != predicted)


@dataclass(frozen=True)
class RunRecord:
    """One run of an arm, planned or found.

    Attributes:
        arm: the arm's name.
        seed: the run's seed.
        state: what the disk says about it.
        hash: identity of the configuration that it ran; empty where nothing was found.
        path: its folder, where there is one.
        reason: first line of why it failed, is damaged or is left out.
        metrics: flat names and numbers of result.json.
        figures: curves and other figures of result.json.
        config: resolved configuration.
        provenance: commit, versions, hardware, command.
        evaluation: digest of the evaluation settings.
        test_images: number of test images; 0 where the run does not say.
        predictions: predicted classes; None where the file is missing.
    """

    arm: str
    seed: int
    state: RunState
    hash: str = ""
    path: Path | None = None
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    evaluation: str = ""
    test_images: int = 0
    predictions: Predictions | None = None


@dataclass(frozen=True)
class ArmRuns:
    """An arm with one record per planned seed, and what else was found under its name.

    Attributes:
        name: the arm's name.
        arm: its label, overrides and published number.
        hash: identity of the configuration that is reported; empty where no run was found.
        planned: one record per seed of the sweep, in the sweep's order.
        conflicting: runs under this arm's name with another hash; not used.
        extra: runs of the reported hash with seeds that the sweep does not plan; not used.
    """

    name: str
    arm: Arm
    hash: str
    planned: list[RunRecord]
    conflicting: list[RunRecord] = field(default_factory=list)
    extra: list[RunRecord] = field(default_factory=list)

    @property
    def done(self) -> list[RunRecord]:
        """Finished planned runs, in the order of the seeds."""
        return [run for run in self.planned if run.state is RunState.done]

    def values(self, metric: str) -> Float[np.ndarray, "seeds"]:
        """A metric of the finished runs that have it."""
        return np.array([run.metrics[metric] for run in self.done if metric in run.metrics], dtype=np.float64)


@dataclass(frozen=True)
class Ablation:
    """Everything a report is made from.

    Attributes:
        sweep: the design.
        arms: arms by name, in the sweep's order.
        strangers: runs in the sweep's folder whose arm is not in the sweep file.
    """

    sweep: Sweep
    arms: dict[str, ArmRuns]
    strangers: list[RunRecord]

    @property
    def done(self) -> list[RunRecord]:
        """Finished planned runs of all arms."""
        return [run for arm in self.arms.values() for run in arm.done]

    @property
    def planned(self) -> list[RunRecord]:
        """All planned runs."""
        return [run for arm in self.arms.values() for run in arm.planned]


def collect(sweep: Sweep, folders: Iterable[RunFolder], hashes: Mapping[str, str] | None = None) -> Ablation:
    """Read the runs of a sweep.

    Args:
        sweep: the design.
        folders: run folders of the sweep's group, as `find_runs` lists them.
        hashes: the identity that each arm's configuration has now, where the caller knows it; without it, an arm found
            under several hashes is reported with the one that finished last.
    """
    found: dict[str, list[RunRecord]] = {}
    for folder in folders:
        record = _read_run(folder)
        found.setdefault(record.arm, []).append(record)
    arms = {
        name: _arm_runs(name, arm, sweep.seeds, found.get(name, []), (hashes or {}).get(name))
        for name, arm in sweep.arms.items()
    }
    strangers = [record for name, records in found.items() if name not in sweep.arms for record in records]
    return Ablation(sweep, arms, strangers)


def _arm_runs(name: str, arm: Arm, seeds: tuple[int, ...], records: list[RunRecord], wanted: str | None) -> ArmRuns:
    reported = wanted or _latest_hash(records)
    by_seed = {record.seed: record for record in records if record.hash == reported}
    planned = [by_seed.pop(seed, RunRecord(name, seed, RunState.missing)) for seed in seeds]
    conflicting = [record for record in records if record.hash != reported]
    return ArmRuns(name, arm, reported, planned, conflicting, list(by_seed.values()))


def _latest_hash(records: list[RunRecord]) -> str:
    if not records:
        return ""
    latest = max(
        records, key=lambda run: (run.state is RunState.done, str(run.provenance.get("finished", "")), run.hash)
    )
    return latest.hash


def _read_run(folder: RunFolder) -> RunRecord:
    arm, _, digits = folder.path.parent.name.rpartition("_")
    seed = int("".join(filter(str.isdigit, folder.path.name)) or 0)
    state = folder.state
    try:
        if state is State.done:
            return _read_done(folder, arm, seed, digits)
        if state is State.failed:
            failure = folder.failure()
            reason = str(failure.get("error") or "no reason given").splitlines()[0]
            provenance = dict(failure.get("provenance") or {})
            return RunRecord(arm, seed, RunState.failed, digits, folder.path, reason, provenance=provenance)
    except CapsbenchError as error:
        return RunRecord(arm, seed, RunState.damaged, digits, folder.path, str(error))
    states = {State.running: RunState.running, State.stale: RunState.stale}
    return RunRecord(arm, seed, states.get(state, RunState.missing), digits, folder.path)


def _read_done(folder: RunFolder, arm: str, seed: int, digits: str) -> RunRecord:
    result = folder.result()
    owner = result.get("run") or {}
    if (owner.get("arm"), owner.get("seed"), owner.get("hash")) != (arm, seed, digits):
        raise CapsbenchError(f"result.json belongs to another run: {owner.get('id', owner)}")
    metrics = {
        str(name): float(value)
        for name, value in (result.get("metrics") or {}).items()
        if isinstance(value, int | float) and np.isfinite(value)
    }
    return RunRecord(
        arm=arm,
        seed=seed,
        state=RunState.done,
        hash=digits,
        path=folder.path,
        metrics=metrics,
        figures=dict(result.get("figures") or {}),
        config=dict(result.get("config") or {}),
        provenance=dict(result.get("provenance") or {}),
        evaluation=str(result.get("evaluation") or ""),
        test_images=int(result.get("test_images") or 0),
        predictions=_read_predictions(folder.path / "predictions.npz"),
    )


def _read_predictions(path: Path) -> Predictions | None:
    if not path.is_file():
        return None
    of_test, of_affine = ("test_predicted_selected",), ("affine_label", "affine_predicted", "affine_image")
    arrays = read_arrays(path, ("test_label", "test_predicted"), (*of_test, *of_affine))
    for names in (("test_label", "test_predicted", *of_test), of_affine):
        shapes = {arrays[name].shape for name in names if name in arrays}
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise CapsbenchError(f"{path.name} is damaged: {', '.join(names)} have the shapes {sorted(shapes)}")
    return Predictions(
        label=arrays["test_label"],
        last=arrays["test_predicted"],
        selected=arrays.get("test_predicted_selected"),
        affine_label=arrays.get("affine_label"),
        affine_predicted=arrays.get("affine_predicted"),
        affine_image=arrays.get("affine_image"),
    )
