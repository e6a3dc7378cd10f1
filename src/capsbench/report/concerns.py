"""What a reader must know before believing a report: missing, failed, conflicting and mixed runs, never hidden."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from capsbench.report.collect import Ablation, ArmRuns, RunRecord, RunState

REASONS_SHOWN = 5


def concerns(ablation: Ablation) -> list[str]:
    """Everything that weakens an ablation, most serious first; empty where all is well."""
    return [
        *_runs_not_done(ablation),
        *_runs_left_out(ablation),
        *mixtures(ablation.done),
        *(text for arm in ablation.arms.values() for text in _suspicious_runs(arm)),
    ]


def commits(runs: Iterable[RunRecord]) -> list[str]:
    """Distinct commits of the runs, in the order found; `unknown` where a run has none."""
    return list(dict.fromkeys(str(run.provenance.get("commit") or "unknown") for run in runs))


def mixtures(runs: list[RunRecord]) -> list[str]:
    """What the runs do not have in common though they should: commit, machine, versions, evaluations, test images."""
    return [*_commits(runs), *_mixtures(runs)]


def _runs_not_done(ablation: Ablation) -> Iterator[str]:
    counts = Counter(run.state for run in ablation.planned)
    for state in (RunState.failed, RunState.damaged, RunState.missing, RunState.stale, RunState.running):
        if counts[state]:
            where = ", ".join(
                f"{arm.arm.label} ({number})"
                for arm in ablation.arms.values()
                if (number := sum(run.state is state for run in arm.planned))
            )
            yield f"{counts[state]} of {len(ablation.planned)} planned runs {state}: {where}"
    reasons = Counter(run.reason for run in ablation.planned if run.reason)
    for reason, number in reasons.most_common(REASONS_SHOWN):
        yield f"reason of {number} failed or damaged run{'s' if number > 1 else ''}: {reason}"
    if len(reasons) > REASONS_SHOWN:
        yield f"{len(reasons) - REASONS_SHOWN} more reasons are in the list of runs"


def _runs_left_out(ablation: Ablation) -> Iterator[str]:
    for arm in ablation.arms.values():
        if arm.conflicting:
            hashes = ", ".join(sorted({run.hash for run in arm.conflicting}))
            yield (
                f"{arm.arm.label}: {len(arm.conflicting)} runs of another configuration ({hashes}) are left out; "
                f"reported is {arm.hash}"
            )
        if arm.extra:
            seeds = ", ".join(str(run.seed) for run in arm.extra)
            yield f"{arm.arm.label}: runs with seeds that the sweep does not plan are left out: {seeds}"
    if ablation.strangers:
        names = ", ".join(sorted({run.arm for run in ablation.strangers}))
        yield f"{len(ablation.strangers)} runs of arms that are not in the sweep file are left out: {names}"


def _commits(runs: list[RunRecord]) -> Iterator[str]:
    counts = Counter(str(run.provenance.get("commit") or "unknown")[:10] for run in runs)
    if len(counts) > 1:
        listed = ", ".join(f"{commit} ({number})" for commit, number in counts.most_common())
        yield f"runs come from different commits: {listed}"
    dirty = sum(bool(run.provenance.get("dirty")) for run in runs)
    if dirty:
        yield f"{dirty} of {len(runs)} runs come from a checkout with uncommitted changes"


def _mixtures(runs: list[RunRecord]) -> Iterator[str]:
    machines = Counter(hardware(run.provenance) for run in runs)
    if len(machines) > 1:
        yield f"runs come from different machines, so their times cannot be compared: {'; '.join(machines)}"
    torches = Counter(packages(run.provenance).get("torch", "unknown") for run in runs)
    if len(torches) > 1:
        yield f"runs come from different PyTorch versions: {', '.join(torches)}"
    if len({run.evaluation for run in runs}) > 1:
        yield "runs were evaluated with different settings: compare robustness and calibration with care"
    tests = {run.predictions.label.tobytes() for run in runs if run.predictions}
    if len(tests) > 1:
        yield f"runs were tested on {len(tests)} different sets of images; only arms with the same images are compared"


def _suspicious_runs(arm: ArmRuns) -> Iterator[str]:
    without = [run.seed for run in arm.done if run.predictions is None]
    if without:
        yield f"{arm.arm.label}: no predictions.npz for seeds {', '.join(map(str, without))}; not in the paired tests"
    seen: dict[bytes, int] = {}
    for run in arm.done:
        if run.predictions is None:
            continue
        wrong = np.count_nonzero(run.predictions.label != run.predictions.last)
        if "test/errors" in run.metrics and wrong != round(run.metrics["test/errors"]):
            stated = round(run.metrics["test/errors"])
            yield f"{arm.arm.label} seed {run.seed}: result.json says {stated} errors, its predictions show {wrong}"
        twin = seen.setdefault(run.predictions.last.tobytes(), run.seed)
        if twin != run.seed and wrong:
            yield f"{arm.arm.label}: seeds {twin} and {run.seed} made exactly the same predictions"


def hardware(provenance: dict[str, Any]) -> str:
    """Accelerator or processor of a run, in words."""
    cores = provenance.get("cores")
    cpu = f"{provenance.get('cpu') or 'unknown processor'}" + (f", {cores} cores" if cores else "")
    return f"{provenance['gpu']} ({cpu})" if provenance.get("gpu") else cpu


def packages(provenance: dict[str, Any]) -> dict[str, str]:
    """Versions of the packages behind a run."""
    versions = dict(provenance.get("packages") or {})
    if provenance.get("torch"):
        versions.setdefault("torch", provenance["torch"])
    return {name: str(version) for name, version in versions.items() if version}
