"""The Lightning logger that hands a run's metrics to its W&B tracker."""

from argparse import Namespace
from typing import Any, Protocol

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only
from typing_extensions import override


class Metrics(Protocol):
    """What takes metrics: `tracking.Tracker`."""

    run_id: str

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Take the metrics of one step; never raises."""


class WandbLogger(Logger):
    """Lightning's view of a run that is already open in W&B.

    Lightning's own WandbLogger leaves `WANDB_MODE` in the environment, never finishes a run and lets a dead W&B process
    end the training; this one only forwards, and the tracker never raises.
    """

    def __init__(self, tracker: Metrics) -> None:
        super().__init__()
        self.tracker = tracker
        self.step = 0

    @property
    @override
    def name(self) -> str:
        return "wandb"

    @property
    @override
    def version(self) -> str:
        return self.tracker.run_id

    @property
    @rank_zero_experiment
    def experiment(self) -> Metrics:
        """The tracker."""
        return self.tracker

    @override
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The tracker sent the configuration when it opened the run."""

    @override
    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.step = self.step if step is None else step
        self.tracker.log(dict(metrics), self.step)
