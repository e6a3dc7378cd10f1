"""What a search has tried, as its search.json and the result.json of its runs say; nothing here knows of Optuna."""

import math
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.report.collect import RunRecord, RunState
from capsbench.report.concerns import REASONS_SHOWN, hardware, mixtures
from capsbench.training.runs import RunFolder

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
# Where a trial's run is kept and what it is called; its own seed has seen the validation images that chose it.
NOT_THE_CONFIGURATION = ("run.group", "run.arm", "seed", "trainer.progress", "trainer.threads")
FRESH_SEEDS = (100, 101, 102, 103, 104)


@dataclass(frozen=True)
class Axis:
    """What a parameter was drawn from: an interval, linear or logarithmic, or a few choices.

    Attributes:
        low: smallest number; 0 for choices.
        high: largest number; for choices the last one's place.
        log: whether it was drawn on a logarithmic scale.
        choices: the choices as text; empty for numbers.
        when: other parameter -> values for which this one exists.
    """

    low: float
    high: float
    log: bool = False
    choices: tuple[str, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict)

    def place(self, value: Any) -> float | None:
        """Where a value lies between 0 (low) and 1 (high); None for what was not drawn from here."""
        if self.choices:
            known = str(value) in self.choices
            return self.choices.index(str(value)) / max(len(self.choices) - 1, 1) if known else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        ends = (self.low, self.high, float(value))
        low, high, at = (math.log(max(end, 1e-300)) for end in ends) if self.log else ends
        return 0.5 if high <= low else (at - low) / (high - low)

    @property
    def text(self) -> str:
        """The space in words."""
        if self.choices:
            words = f"one of {', '.join(self.choices)}"
        else:
            words = f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"
        conditions = [f"{name} is {' or '.join(map(str, values))}" for name, values in self.when.items()]
        return f"{words}, where {' and '.join(conditions)}" if conditions else words


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: its place in the order of drawing.
        state: complete, pruned, failed, running or waiting.
        values: objective -> value; of complete trials only.
        params: what was drawn.
        overrides: all overrides of its first run.
        constraints: metric -> how far above its bound; 0 or less is feasible.
        reported: epoch -> value of the first objective, where a pruner listened.
        metrics: what was measured, nothing of it on test images.
        error: why it failed.
        seconds: from its start to its end.
        baseline: whether the search file asked for this point.
    """

    number: int
    state: str
    values: Mapping[str, float]
    params: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)
    reported: Mapping[int, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    seconds: float | None = None
    baseline: bool = False

    @property
    def feasible(self) -> bool:
        """Whether it keeps within all constraints."""
        return all(excess <= 0 for excess in self.constraints.values())

    @property
    def last_reported(self) -> float | None:
        """The last value of the first objective that was reported while it trained."""
        return self.reported[max(self.reported)] if self.reported else None


@dataclass(frozen=True)
class SearchRecord:
    """A search as far as it has come.

    Attributes:
        name: of the search file.
        preset: its preset, if any.
        file: the file's path, where it is none that is known by name.
        study: name of the study and of its folder.
        planned: trials over the whole life of the study.
        objectives: metric -> `minimize` or `maximize`.
        space: parameter -> what it was drawn from.
        trials: all trials, by number.
        best: numbers of the best trial or of the Pareto front, in the order of the first objective.
        importance: objective -> parameter -> share.
        runs: the finished runs behind the trials.
    """

    name: str
    preset: str | None
    study: str
    title: str
    question: str
    base: tuple[str, ...]
    seeds: tuple[int, ...]
    planned: int
    objectives: Mapping[str, str]
    constraints: Mapping[str, float]
    space: Mapping[str, Axis]
    trials: tuple[Trial, ...]
    best: tuple[int, ...]
    importance: Mapping[str, Mapping[str, float]]
    runs: tuple[RunRecord, ...] = ()
    file: str = ""

    @cached_property
    def complete(self) -> list[Trial]:
        """Trials with values for all objectives."""
        return [trial for trial in self.trials if trial.state == COMPLETE]

    @cached_property
    def winners(self) -> list[Trial]:
        """The best trial, or the Pareto front."""
        by_number = {trial.number: trial for trial in self.trials}
        return [by_number[number] for number in self.best]

    def is_better(self, objective: str, value: float, other: float) -> bool:
        """Whether a value of an objective beats another one."""
        return value > other if self.objectives[objective] == "maximize" else value < other


def read_search(values: Mapping[str, Any]) -> SearchRecord:
    """Everything about a search from the contents of its search.json, and the runs that it names.

    Raises:
        CapsbenchError: another version of capsbench wrote it.
    """
    if values.get("schema") != 1:
        raise CapsbenchError("search.json is not one of this version of capsbench; report the search again")
    design = values["design"]
    folders = [Path(folder) for trial in values["trials"] for folder in trial["folders"]]
    return SearchRecord(
        name=design["name"],
        preset=design["preset"],
        file=design.get("file", ""),
        study=values["study"],
        title=design["title"],
        question=design["question"],
        base=tuple(design["base"]),
        seeds=tuple(design["seeds"]),
        planned=design["trials"],
        objectives=values["objectives"],
        constraints=values["constraints"],
        space={name: _axis(about) for name, about in design["space"].items()},
        trials=tuple(map(_trial, values["trials"])),
        best=tuple(one["trial"] for one in values["best"]),
        importance=values["importance"],
        runs=tuple(run for folder in folders if (run := _run(RunFolder(folder))) is not None),
    )


def search_status(search: SearchRecord) -> str:
    """How many of the planned trials are where."""
    counts = Counter(trial.state for trial in search.trials)
    words = {COMPLETE: "complete", PRUNED: "pruned (ended early)"}
    ended = counts[COMPLETE] + counts[PRUNED]
    parts = [f"{ended} of {search.planned} trials ended"]
    parts += [f"{counts[state]} {words.get(state, state)}" for state in (COMPLETE, PRUNED, FAILED) if counts[state]]
    parts += [f"{number} {state}" for state, number in counts.items() if state not in (COMPLETE, PRUNED, FAILED)]
    return ", ".join(parts)


def search_concerns(search: SearchRecord) -> list[str]:
    """What a reader must know before believing what a search found, most serious first."""
    found = []
    if len(search.complete) < 2:
        found.append(
            f"{len(search.complete)} complete trial{'' if len(search.complete) == 1 else 's'}: too few to compare "
            "anything; figures that need more are left out"
        )
    failed = [trial for trial in search.trials if trial.state == FAILED]
    if failed:
        found.append(f"{len(failed)} trials failed and were replaced by others")
    reasons = Counter(trial.error for trial in failed)
    found += [f"reason of {number} failed trials: {reason}" for reason, number in reasons.most_common(REASONS_SHOWN)]
    infeasible = sum(not trial.feasible for trial in search.complete)
    if infeasible:
        bounds = ", ".join(f"{metric} ≤ {bound:g}" for metric, bound in search.constraints.items())
        found.append(f"{infeasible} complete trials break the constraints ({bounds}) and cannot win")
    if search.complete:
        found.append(
            f"the best value is the best of {len(search.complete)} on the same validation images, so it flatters; "
            "train its configuration again with fresh seeds before comparing it with anything"
        )
    if len(search.seeds) < 2 and search.complete:
        found.append("every trial is a single seed: part of the differences between trials is chance")
    return [*found, *mixtures(list(search.runs))]


def command(trial: Trial, *, fresh: bool = False) -> str:
    """The command that trains a trial's configuration; with seeds that no trial had, if `fresh`."""
    # Of a key that is given twice, as by a preset, the last value counts.
    last = {word.partition("=")[0]: word for word in trial.overrides}
    kept = [word for key, word in last.items() if key not in NOT_THE_CONFIGURATION]
    seeds = f"seed={','.join(map(str, FRESH_SEEDS))}"
    return shlex.join(["capsbench", "train", *(["-m", *kept, seeds] if fresh else kept)])


def reproduction(search: SearchRecord) -> list[tuple[str, str]]:
    """Commands, seeds, commit and hardware behind a search."""
    preset = f" --preset {shlex.quote(search.preset)}" if search.preset else ""
    own = search.name if search.preset is None else f"{search.name}-{search.preset}"
    study = "" if search.study == own else f" --study {shlex.quote(search.study)}"
    named = shlex.quote(search.file or search.name)
    facts = [
        ("command", f"capsbench sweep {named}{preset}{study}"),
        ("report", f"capsbench report {named}{preset}{study}"),
        ("every trial", shlex.join(search.base)),
        ("seeds of a trial", ", ".join(map(str, search.seeds))),
    ]
    origins = [run.provenance for run in search.runs]
    for name, key in (("commit", "commit"), ("platform", "platform"), ("python", "python"), ("capsbench", "capsbench")):
        facts.append((name, ", ".join(dict.fromkeys(str(origin[key]) for origin in origins if origin.get(key)))))
    facts.append(("hardware", "; ".join(dict.fromkeys(map(hardware, origins)))))
    return [(name, value) for name, value in facts if value]


def _trial(values: Mapping[str, Any]) -> Trial:
    return Trial(
        number=values["trial"],
        state=values["state"],
        values=values["values"],
        params=values["params"],
        overrides=tuple(values["overrides"]),
        constraints=values["constraints"],
        reported={int(step): float(value) for step, value in values["reported"].items()},
        metrics=values["metrics"],
        error=(str(values["error"]).splitlines() or [""])[0],
        seconds=values["seconds"],
        baseline=values["baseline"],
    )


def _axis(values: Mapping[str, Any]) -> Axis:
    when = {name: tuple(allowed) for name, allowed in values["when"].items()}
    if "choices" in values:
        choices = tuple(map(str, values["choices"]))
        return Axis(0, len(choices) - 1, choices=choices, when=when)
    return Axis(values["low"], values["high"], log=bool(values["log"]), when=when)


def _run(folder: RunFolder) -> RunRecord | None:
    """What result.json says of a run's origin; nothing of its errors on test images."""
    try:
        result = folder.result()
    except CapsbenchError:
        return None
    owner = result.get("run") or {}
    return RunRecord(
        arm=str(owner.get("arm")),
        seed=int(owner.get("seed") or 0),
        state=RunState.done,
        hash=str(owner.get("hash")),
        path=folder.path,
        provenance=dict(result.get("provenance") or {}),
        evaluation=str(result.get("evaluation") or ""),
    )
