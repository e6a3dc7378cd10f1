"""What a search has found so far, as search.json (all trials, the best, which parameters mattered) and as text.

search.json is all that a report of the search reads besides the runs' result.json: reports know nothing of Optuna.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.compose import compose
from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.storage import JOURNAL, checked_url, open_storage
from capsbench.studies import queue
from capsbench.studies.search_file import Search
from capsbench.studies.space import as_json, from_json, override, parse_space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FILE, TOTAL = "search.json", "total"
SHOWN = 10
FEWEST_FOR_IMPORTANCE = 4
# Nothing measured on test images: whoever looks at the trials is about to choose one.
SHOWN_METRICS = ("val/", "val_selected/", "time/", "cost/")


def best_trials(study: "Study") -> "list[FrozenTrial]":
    """The best feasible trial, or the Pareto front of several objectives; empty while there is none."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not any(all(bound <= 0 for bound in trial.constraints.values()) for trial in complete):
        return []
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.values)
    return [study.best_trial]


def importances(study: "Study", objectives: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Share of each parameter in reaching good values of every objective (PED-ANOVA); empty with too few trials.

    Args:
        study: has the trials.
        objectives: metric -> `minimize` or `maximize`.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    found = {}
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < FEWEST_FOR_IMPORTANCE:
        return {}
    for position, (objective, direction) in enumerate(objectives.items()):
        # The evaluator takes small targets for good ones.
        target = None if len(objectives) == 1 else _target(position, -1 if direction == "maximize" else 1)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="PedAnova.* computes the importances")
                found[objective] = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), target=target)
        except (ValueError, RuntimeError):  # no parameter that all trials share, or no variance
            continue
    return found


def open_search(design: Search, overrides: Sequence[str], name: str | None, storage: str | None) -> "Study | None":
    """The study behind a search; None where none of it has been started.

    Args:
        design: the search file.
        overrides: of every run, as on the command line.
        name: another name that it was started under.
        storage: address of its storage, if it is not in the folder of the runs.

    Raises:
        CapsbenchError: the storage cannot be opened or has no such study.
    """
    import optuna

    folder = search_folder(design, overrides, name)
    journal = folder / "study.journal"
    if storage is None and not journal.exists():
        return None
    opened = open_storage(checked_url(storage or f"{JOURNAL}{journal}"))
    try:
        return optuna.load_study(study_name=folder.name, storage=opened)
    except KeyError:
        raise CapsbenchError(f"there is no study {folder.name} in {storage or journal}") from None


def search_folder(design: Search, overrides: Sequence[str], name: str | None = None) -> Path:
    """Folder of a search's trials below the runs' root."""
    group = name or design.group
    return Path(compose([*design.base, f"run.group={group}", *overrides]).run.root) / group


def write_summary(study: "Study | None", design: Search, folder: Path) -> dict[str, Any]:
    """Keep what was found as search.json in the search's folder; a search that has not begun leaves no file.

    Args:
        study: has the trials.
        design: the search file.
        folder: of the search's trials.

    Returns:
        The contents of search.json.
    """
    trials = study.get_trials(deepcopy=False) if study else []
    found = (_record(trial, list(design.objectives), design.base) for trial in trials)
    records = [record for record in found if record is not None]
    counts = {state: sum(one["state"] == state for one in records) for state in ("complete", "pruned", "failed")}
    best = {trial.number for trial in best_trials(study)} if study else set()
    values = {
        "schema": 1,
        "study": folder.name,
        "folder": str(folder),
        "design": {
            "name": design.name,
            "preset": design.preset,
            "file": design.file,
            "title": design.title,
            "question": design.question,
            "base": list(design.base),
            "space": _axes(study, design),
            "trials": (study.user_attrs.get(TOTAL) if study else None) or design.trials,
            "seeds": list(design.seeds),
            "sampler": design.sampler,
            "pruner": design.pruner,
        },
        "objectives": design.objectives,
        "constraints": design.constraints,
        **counts,
        "best": [one for one in records if one["trial"] in best],
        "importance": importances(study, design.objectives) if study else {},
        "trials": records,
    }
    values["best"].sort(key=lambda one: list(one["values"].values()))
    if study is not None:
        write_atomic(folder / FILE, json.dumps(values, indent=1) + "\n")
    return values


def summary_text(values: Mapping[str, Any]) -> str:
    """What was found, in a few lines for the terminal."""
    heads = (
        f"{values['complete']} trials complete, {values['pruned']} pruned, {values['failed']} failed; "
        f"{Path(values['folder']) / FILE}"
    )
    return "\n".join([heads, *_best_lines(values), *_importance_lines(values["importance"])])


def _target(position: int, sign: int) -> "Callable[[FrozenTrial], float]":
    return lambda trial: float(sign * trial.values[position])


def _axes(study: "Study | None", design: Search) -> dict[str, dict[str, Any]]:
    """What each parameter was drawn from: of a study as it was started, whatever the file says by now."""
    before = study.user_attrs.get("design") if study else None
    space = from_json(before["space"], before["conditions"]) if before else parse_space(design.params)
    return {
        name: {**json.loads(text)["attributes"], "when": space.conditions.get(name, {})}
        for name, text in as_json(space).items()
    }


def _record(trial: "FrozenTrial", objectives: list[str], base: Sequence[str]) -> dict[str, Any] | None:
    """One trial as plain values; None for one that was given back, or whose run another trial goes on with."""
    attrs = trial.user_attrs
    if queue.SURPLUS in attrs or queue.INTERRUPTED in attrs:
        return None
    state = trial.state.name.lower()
    if state == "fail":
        if queue.ERROR not in attrs:
            return None
        state = "failed"
    ended, begun = trial.datetime_complete, trial.datetime_start
    return {
        "trial": trial.number,
        "state": state,
        "values": dict(zip(objectives, trial.values, strict=True)) if state == "complete" else {},
        "params": trial.params,
        "overrides": attrs.get(queue.OVERRIDES) or [*base, *(override(*drawn) for drawn in trial.params.items())],
        "constraints": dict(trial.constraints),
        "reported": {str(step): value for step, value in trial.intermediate_values.items()},
        "metrics": {name: value for name, value in attrs.get("metrics", {}).items() if name.startswith(SHOWN_METRICS)},
        "error": attrs.get(queue.ERROR, ""),
        "folders": attrs.get(queue.FOLDERS, []),
        "seconds": (ended - begun).total_seconds() if ended and begun else None,
        "baseline": bool(attrs.get("baseline")),
    }


def _best_lines(values: Mapping[str, Any]) -> list[str]:
    best, several = values["best"], len(values["objectives"]) > 1
    if not best:
        return [
            "no complete trial keeps within the constraints" if values["constraints"] else "no trial is complete yet"
        ]
    lines = [f"Pareto front ({len(best)} trials):" if several else "best:"]
    for one in best[:SHOWN]:
        lines.append(
            f"  trial {one['trial']}: {', '.join(f'{name} {value:.5g}' for name, value in one['values'].items())}"
        )
        drawn = [f"{name}={value}" if several else f"{name} = {value}" for name, value in one["params"].items()]
        lines += [f"    {', '.join(drawn)}"] if several else [f"    {text}" for text in drawn]
    if len(best) > SHOWN:
        lines.append(f"  and {len(best) - SHOWN} more in {FILE}")
    return lines


def _importance_lines(weights: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = []
    for objective, shares in weights.items():
        listed = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        lines.append(f"importance for {objective}: {listed}")
    return lines
