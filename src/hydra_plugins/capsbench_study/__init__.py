"""The sweeper that Hydra finds: `capsbench train -m +sweep=NAME`. Imported at every start, so nothing heavy is here."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

OPTIONS = {
    "_target_": "hydra_plugins.capsbench_study.StudySweeper",
    "sweep": None,  # name or path of the sweep file
    "preset": None,  # one of the file's presets
    "study": None,  # another name for a search's study, whose trials are then kept apart
    "storage": None,  # journal:PATH or postgresql+psycopg://...; null: study.journal in the folder of the runs
    "workers": 1,  # workers that the launcher starts; each takes one run at a time
    "isolation": "fork",  # fork: children of a process that imported everything; process: a new interpreter per run
    "program": "capsbench.app",  # module that carries out one run
    "trials": None,  # total of a search, instead of the file's
    "retry_failed": False,  # try runs of an ablation again that failed
    "max_failures": None,  # stop after more failed runs than this
    "max_retries": 2,  # how often a run is started again whose process died
    "minutes": None,  # time limit of a run
    "heartbeat": 10.0,  # seconds between a worker's signs of life
    "grace": 60.0,  # seconds without one after which a worker on another machine counts as dead
}
ConfigStore.instance().store(group="hydra/sweeper", name="capsbench_study", node=OPTIONS, provider="capsbench")


class StudySweeper(Sweeper):
    """Hands the sweep on to `capsbench.studies`, which is imported only when a sweep is started."""

    def __init__(self, **options: Any) -> None:  # read from the configuration in sweep()
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the launcher will need; a run is started by a worker, not by calling the task here."""
        del task_function
        self.context, self.composed = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Carry out the sweep with these overrides for every run."""
        from capsbench.studies.sweeper import sweep

        sweep(self.composed, self.context, arguments)
