"""An ablation carried out: every arm with every seed that is not done."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from capsbench.config import digest
from capsbench.errors import CapsbenchError
from capsbench.studies import queue
from capsbench.studies.crew import work_off
from capsbench.studies.ledger import KEY, Ledger
from capsbench.studies.options import Options, make_spec
from capsbench.studies.outcome import run_outcome
from capsbench.studies.plan import failed, plan, set_damage_aside
from capsbench.studies.space import is_sweep
from capsbench.studies.stopping import STOP
from capsbench.studies.study import create_study
from capsbench.studies.watch import Watch
from capsbench.sweep_file import Sweep

if TYPE_CHECKING:
    from hydra.types import HydraContext
    from optuna.trial import FrozenTrial


class AblationSweep:
    """Every arm with every seed, in the order of the plan."""

    def __init__(self, design: Sweep, overrides: Sequence[str], options: Options, launcher: str) -> None:
        several = [text for text in overrides if is_sweep(text)]
        if several:
            raise CapsbenchError(f"{several[0]}: an ablation's arms are in its file; give one value")
        self.options = options
        self.runs = plan(design, overrides)
        self.by_key = {run.key: run for run in self.runs}
        self.todo = [run for run in self.runs if run.needs_work(retry_failed=options.retry_failed)]
        folder = self.runs[0].folder.path.parents[1].absolute()
        # Named after its runs: a changed design is another queue, and what the old one left is not run by mistake.
        name = f"{design.group}-{digest(sorted(self.by_key))}"
        self.spec = make_spec(
            options, launcher, folder, name, devices=self.runs[0].cfg.trainer.devices, kind="ablation",
            arms={run.arm: run.overrides for run in self.runs}, objectives={design.metric: "minimize"},
        )  # fmt: skip

    def run(self, config: DictConfig, context: "HydraContext") -> int:
        """Carry out what is not done; returns the exit status."""
        done = len(self.runs) - len(self.todo)
        set_damage_aside(self.todo)
        for run in self.runs:
            if damage := run.damage():
                print(f"{run.name}: left out: {damage}; --retry-failed makes it again", flush=True)
        if not self.todo:
            print(f"all {len(self.runs)} runs are there already")
            return 1 if failed(self.runs) else 0
        print(f"{len(self.runs)} runs, {done} of them there already", flush=True)
        study = create_study(self.spec)
        ledger = Ledger(study)
        queue.reap(ledger, grace=self.spec.grace, max_retries=self.spec.max_retries)
        queue.enqueue_runs(study, self.todo)
        with Watch(self.spec, len(self.runs), done, self.line, self.name):
            work_off(study, self.spec, self.options.workers, config, context)
            # Whoever takes a run away from a dead worker and dies, too, before it is queued again, leaves it out.
            while not STOP.is_set() and self.requeue_forgotten(ledger):
                work_off(study, self.spec, self.options.workers, config, context)
        return 1 if any(run.needs_work(retry_failed=True) for run in self.runs) else 0

    def requeue_forgotten(self, ledger: Ledger) -> int:
        """Queue again what nobody has finished and nobody will; returns how many."""
        left = [run.key for run in self.todo if run.needs_work(retry_failed=False)]
        return queue.requeue_forgotten(ledger, left, max_retries=self.spec.max_retries)

    def line(self, trial: "FrozenTrial") -> str | None:
        """What is said about a run that has ended."""
        run = self.by_key.get(trial.user_attrs.get(KEY, ""))
        return None if run is None else run_outcome(trial, run)

    def name(self, trial: "FrozenTrial") -> str:
        """A running run's name."""
        run = self.by_key.get(trial.user_attrs.get(KEY, ""))
        return "" if run is None else run.name
