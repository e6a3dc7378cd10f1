"""Evaluating a finished run again, on other questions than those it was made with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.stored_config import stored_config, with_overrides
from capsbench.training.runs import RunFolder, State


def evaluate_run(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Evaluate a run's checkpoints as `overrides` say; nothing is trained, result.json is replaced at the end.

    Args:
        folder: a finished run's folder.
        overrides: `evaluation=OPTION`, `evaluation.KEY=VALUE` and other keys that cannot change the training.

    Returns:
        The contents of result.json.

    Raises:
        CapsbenchError: the run has not finished, its checkpoints are gone, or an override would make it another run.
    """
    cfg = with_overrides(stored_config(folder), overrides)
    run = RunFolder(folder)
    if run.state is not State.done:
        raise CapsbenchError(f"{folder} is {run.state}: only a finished run can be evaluated again")
    missing = [name for name in ("last.ckpt", "best.ckpt") if not (folder / name).is_file()]
    if missing:
        raise CapsbenchError(f"{folder} has no {' and no '.join(missing)} any more: there are no weights to evaluate")
    from capsbench.training.train import run as train_run

    return train_run(cfg)
