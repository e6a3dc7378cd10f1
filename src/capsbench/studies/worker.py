"""What a launcher starts: a loop that takes a trial from the study, carries it out in child processes and reports back.

It imports neither torch nor Lightning; the children do.
"""

import logging
import os
from contextlib import suppress
from statistics import fmean
from typing import TYPE_CHECKING, Any

from capsbench.errors import CapsbenchError
from capsbench.processes import die_with_parent, this_process
from capsbench.studies import queue
from capsbench.studies.choices import INSIDE_A_RUN
from capsbench.studies.heartbeat import Heartbeat
from capsbench.studies.ledger import Ledger
from capsbench.studies.runner import Outcome, Runner
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP, stopping_on_signals
from capsbench.studies.study import open_study
from capsbench.studies.trial_runs import TrialRuns
from capsbench.training.identity import is_done
from capsbench.training.runs import run_folder

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)


class WorkerTask:
    """The task function that a Hydra launcher carries to where it runs."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(self, _: Any) -> int:
        """Work until nothing is left; returns the number of trials taken."""
        from hydra.core.hydra_config import HydraConfig

        if os.getppid() == self.spec.sweeper["pid"] and this_process()["host"] == self.spec.sweeper["host"]:
            die_with_parent()
        with suppress(FileNotFoundError):
            os.chdir(self.spec.cwd)
        with stopping_on_signals():
            return Worker(self.spec, int(HydraConfig.get().job.num)).work()


class Worker:
    """One worker of a study.

    Args:
        spec: the study.
        index: number of this worker among those that were launched together.
    """

    def __init__(self, spec: Spec, index: int) -> None:
        self.spec = spec
        self.study = open_study(spec, index)
        self.ledger = Ledger(self.study)
        self.runs = TrialRuns(spec)
        self.runner = Runner(spec, index)

    def work(self) -> int:
        """Take trials until none is left or the worker is told to stop; returns how many were taken."""
        taken = 0
        with Heartbeat(self.study, self.spec) as heart:
            try:
                while not STOP.is_set() and not self.too_many_failures():
                    queue.reap(self.ledger, grace=self.spec.grace, max_retries=self.spec.max_retries)
                    trial = self.take()
                    if trial is None:
                        break
                    with heart.of(trial):
                        self.carry_out(trial)
                    taken += 1
            finally:
                self.runner.children.close()
        return taken

    def too_many_failures(self) -> bool:
        """Whether this session has failed more often than allowed."""
        limit = self.spec.max_failures
        return limit is not None and len(queue.failures(self.ledger, self.spec.session)) > limit

    def take(self) -> "Trial | None":
        """The next trial that is this worker's to carry out."""
        while not STOP.is_set():
            trial = self.next_trial()
            if trial is None:
                return None
            trial.set_user_attr(queue.WORKER, {**this_process(), "session": self.spec.session})
            if self.is_ours(trial):
                return trial
            queue.give_back(self.study, trial)
        return None

    def next_trial(self) -> "Trial | None":
        """A trial that was not started yet; None when there is nothing left."""
        if self.spec.kind == "ablation":
            return queue.take(self.ledger)
        self.ledger.look()
        left = self.spec.total - self.ledger.counted - len(self.ledger.running)
        if left <= 0 or "exhausted" in self.study.user_attrs:
            return None
        return self.study.ask()

    def is_ours(self, trial: "Trial") -> bool:
        """Whether the trial is not one too many."""
        from optuna.trial import TrialState

        if self.spec.kind == "search":
            return queue.is_within_total(self.ledger, trial.number, self.spec.total)
        frozen = self.frozen(trial)
        older = queue.older_states(self.ledger, frozen)
        if TrialState.COMPLETE in older:
            cfg, _ = self.runs.run_of(frozen)
            return not is_done(run_folder(cfg), cfg)
        return not older & {TrialState.WAITING, TrialState.RUNNING}

    def carry_out(self, trial: "Trial") -> None:
        """Run a trial and tell the study how it came out."""
        try:
            outcome = self.all_runs(trial)
        except CapsbenchError as error:
            outcome = Outcome("failed", error=str(error))
        try:
            self.tell(trial, outcome)
        except Exception as error:
            from optuna.exceptions import UpdateFinishedTrialError

            # Another worker thought this one dead and took the trial away: its result is on disk and will be found.
            if not isinstance(error, UpdateFinishedTrialError | ValueError):
                raise
            log.warning("trial %d was taken away from this worker: %s", trial.number, error)

    def all_runs(self, trial: "Trial") -> Outcome:
        """The runs of a trial, one for each seed, and what they come to together."""
        runs = self.runs.runs_of(trial, self.frozen(trial))
        trial.set_user_attr(queue.FOLDERS, [str(run_folder(cfg).path) for cfg, _ in runs])
        if self.spec.kind == "search":
            trial.set_user_attr(queue.OVERRIDES, runs[0][1])
        self.copy_reports(trial)
        found: list[dict[str, float]] = []
        for position, (cfg, overrides) in enumerate(runs):
            outcome = self.runner.run(cfg, overrides, self.runs.link(trial) if position == 0 else {})
            if outcome.state != "done":
                return outcome
            found.append(outcome.metrics)
            if self.spec.pruner.get("name") == "wilcoxon" and len(runs) > 1:
                trial.report(outcome.metrics[next(iter(self.spec.objectives))], step=position)
                if position + 1 < len(runs) and trial.should_prune():
                    return Outcome("pruned", _means(found))
        return Outcome("done", _means(found))

    def tell(self, trial: "Trial", outcome: Outcome) -> None:
        """Close the trial in the study, and queue it again where its run is to go on."""
        from optuna.trial import TrialState

        state, metrics = outcome.state, outcome.metrics
        if state in ("done", "pruned"):
            if self.spec.kind == "search":
                trial.set_user_attr("metrics", metrics)
                for name, bound in self.spec.constraints.items():
                    trial.set_constraint(name, metrics.get(name, float("inf")) - bound)
            if state == "pruned":
                self.study.tell(trial, state=TrialState.PRUNED)
                return
            missing = [name for name in self.spec.objectives if name not in metrics]
            if missing and self.spec.kind == "search":
                state = "failed"
                outcome.error = f"the run has no {missing[0]}; it has {', '.join(sorted(metrics))}"
            else:
                self.tell_values(trial, [metrics.get(name, 0.0) for name in self.spec.objectives])
                return
        frozen = self.frozen(trial)
        again = False
        if state == "failed":
            trial.set_user_attr(queue.ERROR, outcome.error)
        elif state == "stopped":
            trial.set_user_attr(queue.INTERRUPTED, True)
            again = True
        elif int(frozen.user_attrs.get(queue.TRIES, 0)) < self.spec.max_retries:
            again = True
        else:
            cfg, _ = self.runs.runs_of(trial, frozen)[0]
            tries = int(frozen.user_attrs.get(queue.TRIES, 0)) + 1
            self.runner.failed(cfg, run_folder(cfg), f"{outcome.error}, {tries} times")
            trial.set_user_attr(queue.ERROR, f"{outcome.error}, {tries} times")
        self.study.tell(trial, state=TrialState.FAIL)
        if again:
            queue.requeue(self.study, frozen, max_retries=self.spec.max_retries, blame=state == "lost")

    def tell_values(self, trial: "Trial", values: list[float]) -> None:
        """Report a complete trial; a sampler that has no further point says so here."""
        try:
            self.study.tell(trial, values)
        except RuntimeError as error:
            # Samplers of a finite space call Study.stop(), which is for study.optimize; the result is stored by then.
            if "Study.stop" not in str(error):
                raise
            self.study.set_user_attr("exhausted", True)

    def copy_reports(self, trial: "Trial") -> None:
        """A run that goes on from its checkpoint does not report its first epochs again."""
        origin = self.frozen(trial).user_attrs.get(queue.RETRY_OF)
        if origin is not None and self.spec.pruner.get("name") in INSIDE_A_RUN:
            for step, value in self.ledger.look().read(origin).intermediate_values.items():
                trial.report(value, step)

    def frozen(self, trial: "Trial") -> "FrozenTrial":
        """The trial as it stands in the storage."""
        return self.study._storage.get_trial(trial._trial_id)


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    common = set.intersection(*(set(metrics) for metrics in found))
    return {name: fmean(metrics[name] for metrics in found) for name in sorted(common)}
