"""A search in this process: real sweep file, study and worker, but a run is a function of its configuration."""

from collections.abc import Callable
from pathlib import Path

import optuna
from omegaconf import OmegaConf

from capsbench.config import Config
from capsbench.studies.options import read_options
from capsbench.studies.runner import Outcome, Runner
from capsbench.studies.search_file import load_design
from capsbench.studies.search_sweep import SearchSweep
from capsbench.studies.study import create_study
from capsbench.studies.worker import Worker
from hydra_plugins.capsbench_study import OPTIONS

Measure = Callable[[Config, dict[str, str]], Outcome]


class Measured(Runner):
    """Measures instead of training."""

    measure: Measure

    def run(self, cfg, overrides, variables):
        return self.measure(cfg, variables)


def prepared(folder: Path, text: str, *overrides: str) -> SearchSweep:
    """The search of a sweep file that has nothing but this text below its kind and base."""
    (folder / "mine.yaml").write_text(f"kind: search\nbase: [model=cnn_small]\n{text}")
    options = read_options(OmegaConf.create({"hydra": {"sweeper": OPTIONS | {"sweep": "mine"}}}))
    return SearchSweep(load_design("mine", folder), [f"run.root={folder / 'runs'}", *overrides], options, "basic")


def carried_out(folder: Path, text: str, measure: Measure) -> list[optuna.trial.FrozenTrial]:
    """Trials of the search once one worker has ended."""
    search = prepared(folder, text)
    study = create_study(search.spec)
    search.refuse_changes(study)
    for point in search.design.enqueue:
        study.enqueue_trial(point)
    worker = Worker(search.spec, 0)
    worker.runner = Measured(search.spec, 0)
    worker.runner.measure = measure
    worker.work()
    return worker.study.trials


def loss(value: float) -> Outcome:
    """A run with this validation loss."""
    return Outcome("done", {"val/loss": value})
