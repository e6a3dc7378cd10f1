"""Ends a run early when the search that it is a trial of finds it hopeless.

The search hands the trial's number on in the environment, so that neither the configuration nor its identity knows of
it. Rank 0 alone speaks to the storage; all ranks stop at the same epoch.
"""

import json
import os
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from typing_extensions import override

from capsbench.storage import open_storage

if TYPE_CHECKING:
    from optuna.trial import Trial

LINKED_TRIAL = "CAPSBENCH_TRIAL"
PRUNERS = {"median": "MedianPruner", "hyperband": "HyperbandPruner"}


class Pruned(Exception):
    """The run was ended early; holds its metrics at that time."""

    def __init__(self, epoch: int, metrics: dict[str, float]) -> None:
        super().__init__(f"pruned after epoch {epoch + 1}")
        self.epoch, self.metrics = epoch, metrics


class Pruning(pl.Callback):
    """Reports one validation metric after every epoch and stops the run when the pruner says so.

    Args:
        trial: the trial; None on all ranks but the first.
        monitor: name of the metric.
    """

    def __init__(self, trial: "Trial | None", monitor: str) -> None:
        self.trial, self.monitor = trial, monitor
        self.stopped: Pruned | None = None

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stop = False
        if self.trial is not None:
            self.trial.report(float(trainer.callback_metrics[self.monitor]), step=trainer.current_epoch)
            stop = self.trial.should_prune()
        if trainer.strategy.broadcast(stop, src=0):
            metrics = {
                name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")
            }
            self.stopped = Pruned(trainer.current_epoch, metrics)
            trainer.should_stop = True


def linked_pruning() -> Pruning | None:
    """The callback of a run that is a trial of a search with a pruner; None for any other run."""
    text = os.environ.get(LINKED_TRIAL)
    if text is None:
        return None
    link = json.loads(text)
    return Pruning(_attach(link) if os.environ.get("LOCAL_RANK", "0") == "0" else None, link["monitor"])


def _attach(link: dict[str, Any]) -> "Trial":
    import optuna

    storage = open_storage(link["storage"])
    arguments = {name: value for name, value in link["pruner"].items() if name != "name"}
    pruner = getattr(optuna.pruners, PRUNERS[link["pruner"]["name"]])(**arguments)
    # Taking a trial up calls the sampler's before_trial, which in this one does nothing.
    sampler = optuna.samplers.RandomSampler()
    study = optuna.load_study(study_name=link["study"], storage=storage, sampler=sampler, pruner=pruner)
    found = study.get_trials(deepcopy=False)[link["number"]]
    return optuna.trial.Trial(study, found._trial_id)
