"""Evidence to be committed: one small JSON file a sweep, from which every number and verdict can be computed again.

A file of `results/` holds the sweep's design, what each run measured, where it was run, the verdicts of the declared
comparisons and the packed predictions behind them. Reading it gives the same `Ablation` as reading the runs' folders,
so that the statistics, tables and claims work on either. The same runs give the same bytes.
"""

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.report.analysis import Analysis, ArmSummary, Comparison
from capsbench.report.collect import Ablation, ArmRuns, Predictions, RunRecord, RunState
from capsbench.report.packed import pack_predictions, unpack_predictions
from capsbench.report.verdicts import sentence
from capsbench.sweep_file import Arm, Published, Sweep

SCHEMA = 1
KIND = "ablation"
ORIGIN = ("commit", "dirty", "capsbench", "python", "platform", "cpu", "cores", "gpu", "command", "started", "finished")
PACKAGES = ("torch", "pytorch-lightning", "numpy")
# What of a run's configuration the report reads; the rest follows from the overrides and the commit.
CONFIG = ("data", "evaluation")
BUDGET = ("epochs", "steps", "batch_size")
DIGITS = 6

Values = dict[str, Any]


def write_results_file(analysis: Analysis, folder: Path, overrides: Sequence[str] = ()) -> Path:
    """Write `folder/<group>.json`.

    Args:
        analysis: a sweep's runs and statistics.
        folder: usually `results`.
        overrides: Hydra overrides that the runs had besides the sweep file's.

    Raises:
        CapsbenchError: no run of the sweep is done.
    """
    sweep = analysis.ablation.sweep
    if not analysis.ablation.done:
        raise CapsbenchError(f"no run of {sweep.group} is done: there are no results to keep")
    path = folder / f"{sweep.group}.json"
    write_atomic(path, to_text(results_values(analysis, overrides)))
    return path


def results_values(analysis: Analysis, overrides: Sequence[str] = ()) -> Values:
    """What the file holds, as plain values."""
    ablation = analysis.ablation
    sweep = ablation.sweep
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "sweep": sweep.name,
        "preset": sweep.preset,
        "title": sweep.title,
        "question": sweep.question,
        "metric": sweep.metric,
        "checkpoint": sweep.checkpoint,
        "seeds": list(sweep.seeds),
        "base": list(sweep.base),
        "overrides": list(overrides),
        "command": sweep_command(sweep.file or sweep.name, sweep.preset, overrides),
        "arms": [_arm_values(arm) for arm in analysis.arms.values()],
        "runs": [_run_values(run) for run in _all_runs(ablation)],
        "comparisons": [_comparison_values(pair, ablation) for pair in analysis.declared],
        "predictions": pack_predictions(ablation.done),
    }


def sweep_command(name: str, preset: str | None, overrides: Sequence[str] = ()) -> str:
    """What a user types to run a sweep."""
    words = ["capsbench", "sweep", name, *(["--preset", preset] if preset else []), *overrides]
    return shlex.join(words)


def read_results_file(path: Path) -> Ablation:
    """The runs of a file of results.

    Raises:
        CapsbenchError: the file is no file of results, or of another version.
    """
    values = read_values(path)
    try:
        predictions = unpack_predictions(values["predictions"])
        runs = [_run_record(run, predictions.get((run["arm"], run["seed"]))) for run in values["runs"]]
        sweep = _sweep(values)
        config = {arm["name"]: arm["config"] for arm in values["arms"]}
        hashes = {arm["name"]: arm["hash"] for arm in values["arms"]}
        for run in runs:
            run.config.update(config[run.arm] if run.state is RunState.done else {})
        arms = {
            name: ArmRuns(name, arm, hashes[name], [run for run in runs if run.arm == name])
            for name, arm in sweep.arms.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CapsbenchError(f"{path}: not a file of results ({type(error).__name__}: {error})") from error
    return Ablation(sweep, arms, [])


def read_values(path: Path) -> Values:
    """The plain values of a file of results of any kind.

    Raises:
        CapsbenchError: the file is no file of results, or of another version.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CapsbenchError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or "kind" not in values:
        raise CapsbenchError(f"{path}: not a file of results of schema {SCHEMA}")
    return values


def results_files(folder: Path, kind: str = KIND) -> dict[str, Path]:
    """Files of one kind in a folder, by the name of the sweep's group."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if not path.name.startswith("bench-") and read_values(path)["kind"] == kind:
            found[path.stem] = path
    return found


def to_text(values: Values) -> str:
    """JSON with sorted keys."""
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _arm_values(arm: ArmSummary) -> Values:
    runs = arm.runs
    done = runs.done[0] if runs.done else None
    config = {name: dict(done.config.get(name) or {}) for name in CONFIG} if done else {}
    config.get("data", {}).pop("root", None)
    if done and done.config.get("trainer"):
        config["trainer"] = {name: done.config["trainer"][name] for name in BUDGET if name in done.config["trainer"]}
    values: Values = {
        "name": runs.name,
        "label": runs.arm.label,
        "overrides": list(runs.arm.overrides),
        "published": asdict(runs.arm.published) if runs.arm.published else None,
        "hash": runs.hash,
        "config": config,
        "images": arm.images,
        "errors": {str(seed): count for seed, count in arm.counts.items()},
    }
    if arm.error is not None:
        found = {"mean": arm.error.mean, "sd": arm.error.sd, "low": arm.error.low, "high": arm.error.high}
        values["error_percent"] = {name: _rounded(value) for name, value in found.items() if not math.isnan(value)}
    return values


def _all_runs(ablation: Ablation) -> Iterator[RunRecord]:
    for arm in ablation.arms.values():
        yield from arm.planned


def _run_values(run: RunRecord) -> Values:
    return {
        "arm": run.arm,
        "seed": run.seed,
        "state": str(run.state),
        "hash": run.hash,
        "reason": run.reason,
        "evaluation": run.evaluation,
        "test_images": run.test_images,
        "metrics": {name: _plain(value) for name, value in run.metrics.items()},
        "provenance": origin_of(run.provenance) if run.state is RunState.done else {},
    }


def origin_of(provenance: Mapping[str, Any]) -> Values:
    """Commit, versions, hardware and command of a run: what of its provenance is kept."""
    packages = provenance.get("packages") or {}
    kept = {name: provenance[name] for name in ORIGIN if name in provenance}
    return {**kept, "packages": {name: packages[name] for name in PACKAGES if packages.get(name)}}


def _comparison_values(pair: Comparison, ablation: Ablation) -> Values:
    said = sentence(pair, ablation)
    values: Values = {
        "a": pair.a,
        "b": pair.b,
        "seeds": list(pair.seeds),
        "verdict": str(said.verdict),
        "worse": said.worse,
        "text": said.text,
        "numbers": said.numbers,
        "caveats": list(said.caveats),
    }
    if pair.paired is not None:
        values |= {name: _rounded(getattr(pair.paired, name)) for name in ("delta", "se", "low", "high", "p")}
        values["p_holm"] = _rounded(pair.p_holm)
    return values


def _run_record(values: Mapping[str, Any], predictions: Predictions | None) -> RunRecord:
    origin = dict(values["provenance"])
    if "packages" in origin:  # in the order of a report, which the file's sorted keys have lost
        origin["packages"] = {name: origin["packages"][name] for name in PACKAGES if name in origin["packages"]}
    return RunRecord(
        arm=values["arm"],
        seed=values["seed"],
        state=RunState(values["state"]),
        hash=values["hash"],
        reason=values["reason"],
        metrics={name: float(value) for name, value in values["metrics"].items()},
        provenance=origin,
        evaluation=values["evaluation"],
        test_images=values["test_images"],
        predictions=predictions,
    )


def _sweep(values: Values) -> Sweep:
    return Sweep(
        name=values["sweep"],
        title=values["title"],
        question=values["question"],
        arms={
            arm["name"]: Arm(
                arm["label"],
                tuple(arm["overrides"]),
                Published(**arm["published"]) if arm["published"] else None,
            )
            for arm in values["arms"]
        },
        seeds=tuple(values["seeds"]),
        base=tuple(values["base"]),
        comparisons=tuple((pair["a"], pair["b"]) for pair in values["comparisons"]),
        metric=values["metric"],
        checkpoint=values["checkpoint"],
        preset=values["preset"],
    )


def _rounded(value: float) -> float:
    """Six digits of a statistic: the last ones of a sum differ from processor to processor."""
    return float(f"{value:.{DIGITS}g}")


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
