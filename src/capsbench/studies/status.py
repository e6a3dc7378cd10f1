"""`capsbench status`: what of a sweep is done, running, pruned, failed and left, once or live."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from capsbench.errors import CapsbenchError
from capsbench.processes import is_gone
from capsbench.studies import queue
from capsbench.studies.plan import Planned, seconds_left
from capsbench.studies.search_file import Search
from capsbench.studies.summary import best_trials, open_search
from capsbench.training.runs import RunFolder, State

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from rich.console import RenderableType

WATCH_SECONDS = 1.0
SHOWN, NAMED = 40, 5
# What a sweep itself keeps beside its runs.
OWN = ("study.journal", "workers", "search.json")
COLOURS = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "damaged": "red",
    "pruned": "yellow",
    "stale": "magenta",
    "lost": "magenta",
}


@dataclass(frozen=True)
class Row:
    """One run or trial on the table."""

    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class Status:
    """A sweep at one moment: its rows, and the lines below them."""

    rows: list[Row]
    lines: list[str]

    @property
    def has_failures(self) -> bool:
        """Whether a run failed, or its result cannot be read."""
        return any(row.state in ("failed", "damaged") for row in self.rows)

    def text(self) -> str:
        """A line per run, and what sums them up."""
        width = max((len(row.name) for row in self.rows), default=0)
        rows = [f"{row.name:<{width}}  {row.state:<8}{row.detail}".rstrip() for row in self.rows]
        return "\n".join([*rows, *self.lines])


def ablation_status(runs: Sequence[Planned]) -> Status:
    """Every planned run with its state, read from disk."""
    rows = [_row(run) for run in runs]
    lines = [_summed(rows, len(runs), "runs", seconds_left(runs))]
    others = strangers(runs)
    if others:
        more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
        lines.append(f"left alone, not of this sweep: {', '.join(others[:NAMED])}{more}")
    return Status(rows, lines)


def search_status(design: Search, overrides: Sequence[str], study_name: str | None, storage: str | None) -> Status:
    """Every trial so far with its state, and the best of them."""
    study = open_search(design, overrides, study_name, storage)
    if study is None:
        return Status([], [f"{design.trials} trials: none started"])
    return study_status(study, list(design.objectives), design.trials)


def study_status(study: "Study", objectives: list[str], total: int) -> Status:
    """The trials of a study."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if queue.SURPLUS not in trial.user_attrs]
    rows = [_trial_row(trial, objectives) for trial in trials if queue.INTERRUPTED not in trial.user_attrs]
    times = [
        (trial.datetime_complete - trial.datetime_start).total_seconds()
        for trial in trials
        if trial.state.name in ("COMPLETE", "PRUNED") and trial.datetime_complete and trial.datetime_start
    ]
    left = max(0, total - queue.counted(study))
    lines = [_summed(rows, total, "trials", fmean(times) * left if times else None)]
    for trial in best_trials(study)[:3]:
        found = ", ".join(f"{name} {value:.5g}" for name, value in zip(objectives, trial.values, strict=True))
        drawn = ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
                          for name, value in trial.params.items())  # fmt: skip
        lines.append(f"best so far: trial {trial.number}: {found} ({drawn})")
    return Status(rows, lines)


def watch(look: Callable[[], Status]) -> Status:
    """Show a live table until nothing is running or waiting, or Ctrl-C."""
    from rich.live import Live

    status = look()
    with Live(table(status), refresh_per_second=4) as live:
        while any(row.state in ("running", "waiting", "todo", "stale") for row in status.rows):
            try:
                time.sleep(WATCH_SECONDS)
            except KeyboardInterrupt:
                break
            status = look()
            live.update(table(status))
    return status


def table(status: Status) -> "RenderableType":
    """The same as a coloured table; of many rows those that are running or failed, and the latest."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = status.rows
    if len(shown) > SHOWN:
        telling = [row for row in shown if row.state in ("running", "failed", "stale", "lost")]
        shown = telling[-SHOWN:] or [row for row in shown if row.state not in ("todo", "waiting")][-SHOWN:]
    grid = Table(box=None, pad_edge=False)
    for heading in ("run", "state", ""):
        grid.add_column(heading, no_wrap=heading != "")
    for row in shown:
        grid.add_row(row.name, Text(row.state, style=COLOURS.get(row.state, "")), row.detail)
    return Group(grid, *(Text(line) for line in status.lines))


def _trial_row(trial: "FrozenTrial", objectives: list[str]) -> Row:
    name, state = f"trial {trial.number}", trial.state.name
    folders = [RunFolder(Path(folder)) for folder in trial.user_attrs.get(queue.FOLDERS, [])]
    if state == "COMPLETE":
        found = ", ".join(f"{name} {value:.5g}" for name, value in zip(objectives, trial.values, strict=True))
        return Row(name, "done", found)
    if state == "PRUNED":
        return Row(name, "pruned", "" if trial.last_step is None else f"after epoch {trial.last_step + 1}")
    if state == "FAIL":
        error = trial.user_attrs.get(queue.ERROR)
        return Row(name, "failed", error) if error else Row(name, "lost", "queued again")
    if state == "RUNNING" and not is_gone(trial.user_attrs.get(queue.WORKER, {})):
        return Row(
            name, "running", next((_progress(folder) for folder in folders if folder.state is State.running), "")
        )
    return Row(name, "waiting" if state == "WAITING" else "stale")


def strangers(runs: Sequence[Planned]) -> list[str]:
    """What lies in the folder of a sweep's runs and is none of them: other designs' runs, a user's own files."""
    folder = runs[0].folder.path.parents[1]
    planned = {run.folder.path.parent.name for run in runs}
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    return [name for name in names if name not in planned and not name.startswith((".", *OWN))]


def _row(run: Planned) -> Row:
    state = run.folder.state
    try:
        return Row(run.name, state, _detail(run.folder, state))
    except CapsbenchError as error:
        return Row(run.name, "damaged", str(error))


def _detail(folder: RunFolder, state: State) -> str:
    if state is State.done:
        metrics = folder.result().get("metrics") or {}
        error = f"test error {1 - metrics['test/accuracy']:.2%}, " if "test/accuracy" in metrics else ""
        return f"{error}{metrics.get('time/wall_seconds', math.nan):.0f} s"
    if state is State.failed:
        return str(folder.failure().get("error") or "no reason given")
    return _progress(folder) if state in (State.running, State.stale) else ""


def _progress(folder: RunFolder) -> str:
    values = folder.progress()
    accuracy, epoch = values.get("val/accuracy"), values.get("epoch")
    if not isinstance(epoch, int):
        return "starting"
    seen = f", validation accuracy {accuracy:.2%}" if isinstance(accuracy, int | float) else ""
    return f"epoch {epoch + 1}, step {values.get('step')} of {values.get('steps')}{seen}"


def _summed(rows: Sequence[Row], total: int, noun: str, seconds: float | None) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    summed = f"{total} {noun}: " + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none started")
    if seconds:
        summed += f"; about {seconds / 60:.0f} min left" if seconds >= 90 else f"; about {seconds:.0f} s left"
    return summed + ("" if seconds is None or not seconds else " with one worker")
