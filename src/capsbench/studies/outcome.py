"""One line for a run or a trial that has ended."""

from typing import TYPE_CHECKING

from capsbench.studies import queue
from capsbench.studies.plan import Planned
from capsbench.training.runs import State
from capsbench.training.summary import run_line

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def run_outcome(trial: "FrozenTrial", run: Planned) -> str | None:
    """What became of an ablation's run; None where there is nothing to say."""
    if trial.state.name == "COMPLETE" and run.folder.state is State.done:
        return run_line(run.folder.result())
    return _failure(trial, run.name)


def trial_outcome(trial: "FrozenTrial", objectives: list[str]) -> str | None:
    """What became of a trial of a search; None where there is nothing to say."""
    name = f"trial {trial.number}"
    drawn = ", ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    if trial.state.name == "COMPLETE":
        values = ", ".join(f"{key} {value:.5g}" for key, value in zip(objectives, trial.values, strict=True))
        return f"{name}: {values} ({drawn})"
    if trial.state.name == "PRUNED":
        last = trial.last_step
        return f"{name}: pruned{'' if last is None else f' after epoch {last + 1}'} ({drawn})"
    return _failure(trial, f"{name} ({drawn})")


def _failure(trial: "FrozenTrial", name: str) -> str | None:
    attrs = trial.user_attrs
    if queue.ERROR in attrs:
        where = f" ({attrs[queue.FOLDERS][0]})" if attrs.get(queue.FOLDERS) else ""
        return f"{name}: failed: {attrs[queue.ERROR]}{where}"
    if queue.SURPLUS in attrs or queue.INTERRUPTED in attrs or trial.state.name != "FAIL":
        return None
    return f"{name}: its process was lost; going on from its last checkpoint"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
