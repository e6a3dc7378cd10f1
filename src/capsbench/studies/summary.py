"""What a search found (best parameters or the Pareto front, and which parameters mattered), as text and search.json."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.files import write_atomic
from capsbench.studies import queue
from capsbench.studies.spec import Spec

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FILE = "search.json"
SHOWN = 10
FEWEST_FOR_IMPORTANCE = 4


def best_trials(study: "Study") -> "list[FrozenTrial]":
    """The best feasible trial, or the Pareto front of several objectives; empty while there is none."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not any(all(bound <= 0 for bound in trial.constraints.values()) for trial in complete):
        return []
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.values)
    return [study.best_trial]


def importances(study: "Study", objectives: list[str]) -> dict[str, dict[str, float]]:
    """Share of each parameter in the variance of every objective (PED-ANOVA); empty where there are too few trials."""
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    found = {}
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < FEWEST_FOR_IMPORTANCE:
        return {}
    for position, objective in enumerate(objectives):
        # Bound in the call: the target is read for every trial.
        target = None if len(objectives) == 1 else lambda trial, position=position: trial.values[position]
        try:
            found[objective] = get_param_importances(study, target=target)
        except (ValueError, RuntimeError):  # no parameter that all trials share, or no variance
            continue
    return found


def write_summary(study: "Study", spec: Spec) -> str:
    """Keep what was found in the group's folder.

    Returns:
        The same as text.
    """
    from optuna.trial import TrialState

    objectives = list(spec.objectives)
    count = {
        state.name: len(study.get_trials(deepcopy=False, states=(state,)))
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    }
    best = best_trials(study)
    weights = importances(study, objectives)
    lost = [t for t in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)) if queue.ERROR in t.user_attrs]
    values = {
        "study": study.study_name,
        "storage": spec.storage,
        "objectives": spec.objectives,
        "complete": count["COMPLETE"],
        "pruned": count["PRUNED"],
        "failed": len(lost),
        "best": [_record(trial, objectives) for trial in best],
        "importance": weights,
    }
    folder = Path(spec.folder)
    write_atomic(folder / FILE, json.dumps(values, indent=1) + "\n")
    heads = f"{count['COMPLETE']} trials complete, {count['PRUNED']} pruned, {len(lost)} failed; {folder / FILE}"
    return "\n".join([heads, *_best_lines(best, spec), *_importance_lines(weights)])


def _record(trial: "FrozenTrial", objectives: list[str]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "values": dict(zip(objectives, trial.values, strict=True)),
        "params": trial.params,
        "constraints": dict(trial.constraints),
        "metrics": trial.user_attrs.get("metrics", {}),
        "folders": trial.user_attrs.get(queue.FOLDERS, []),
    }


def _best_lines(best: "list[FrozenTrial]", spec: Spec) -> list[str]:
    if not best:
        return [
            "no trial is complete yet" if not spec.constraints else "no complete trial keeps within the constraints"
        ]
    lines = ["best:" if len(spec.objectives) == 1 else f"Pareto front ({len(best)} trials):"]
    for trial in best[:SHOWN]:
        found = ", ".join(f"{name} {value:.5g}" for name, value in zip(spec.objectives, trial.values, strict=True))
        lines.append(f"  trial {trial.number}: {found}")
        if len(spec.objectives) == 1:
            lines += [f"    {name} = {value}" for name, value in trial.params.items()]
        else:
            lines.append("    " + ", ".join(f"{name}={value}" for name, value in trial.params.items()))
    if len(best) > SHOWN:
        lines.append(f"  and {len(best) - SHOWN} more in {FILE}")
    return lines


def _importance_lines(weights: dict[str, dict[str, float]]) -> list[str]:
    lines = []
    for objective, shares in weights.items():
        listed = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        lines.append(f"importance for {objective}: {listed}")
    return lines
