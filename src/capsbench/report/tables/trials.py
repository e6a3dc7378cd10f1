"""The trials of a search: what was drawn, what came of it, and why it ended."""

from typing import Any

from capsbench.report.search import SearchRecord, Trial
from capsbench.report.tables.table import MISSING, Cell, Column, Table

COSTS = {"time/train_seconds": "training (s)", "cost/parameters": "parameters"}


def trials_table(search: SearchRecord) -> Table:
    """One row per trial, by number."""
    return _table(search, list(search.trials), "Trials", "Every trial in the order of drawing.", "trials")


def winners_table(search: SearchRecord) -> Table:
    """The best trial, or the Pareto front."""
    several = len(search.objectives) > 1
    title = "Pareto front" if several else "Best trial"
    caption = (
        "Trials that no other feasible one beats in all objectives."
        if several
        else "The complete, feasible trial with the best value."
    )
    caption += " Measured on validation images, which chose it: train it again with fresh seeds to know how good it is."
    return _table(search, search.winners, title, caption, "best")


def space_table(search: SearchRecord) -> Table:
    """The parameters and what they were drawn from."""
    rows = [[Cell(name), Cell(axis.text)] for name, axis in search.space.items()]
    columns = [Column("parameter", numeric=False), Column("drawn from", numeric=False)]
    return Table("Search space", "", columns, rows, f"{search.study}-space")


def _table(search: SearchRecord, trials: list[Trial], title: str, caption: str, label: str) -> Table:
    costs = {metric: name for metric, name in COSTS.items() if metric not in search.objectives}
    columns = [
        Column("trial", numeric=False),
        Column("state", numeric=False),
        *(Column(f"{name} ({direction})") for name, direction in search.objectives.items()),
        *(Column(name, numeric=not axis.choices) for name, axis in search.space.items()),
        *(Column(name) for name in costs.values()),
        Column("note", numeric=False),
    ]
    rows = [
        [
            Cell(str(trial.number)),
            Cell(trial.state),
            *(_number(trial.values.get(name)) for name in search.objectives),
            *(_drawn(trial.params.get(name)) for name in search.space),
            *(_number(trial.metrics.get(metric)) for metric in costs),
            Cell(_note(trial, search)),
        ]
        for trial in trials
    ]
    return Table(title, caption, columns, rows, f"{search.study}-{label}")


def _note(trial: Trial, search: SearchRecord) -> str:
    notes = ["best" if len(search.objectives) == 1 else "on the front"] if trial.number in search.best else []
    if trial.baseline:
        notes.append("asked for by the search file")
    if not trial.feasible:
        notes.append("breaks a constraint")
    if trial.state == "pruned" and trial.reported:
        notes.append(f"ended after epoch {max(trial.reported) + 1} at {trial.last_reported:.5g}")
    return "; ".join([*notes, trial.error] if trial.error else notes)


def _number(value: float | None) -> Cell:
    return Cell(MISSING) if value is None else Cell(f"{value:,.5g}" if value < 1e5 else f"{value:,.0f}", {"": value})


def _drawn(value: Any) -> Cell:
    if value is None:
        return Cell(MISSING)
    if isinstance(value, float):
        return Cell(f"{value:.4g}", {"": value})
    return Cell(str(value), {"": float(value)} if isinstance(value, int) and not isinstance(value, bool) else {})
