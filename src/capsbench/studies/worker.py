"""What a launcher starts: a loop that takes a trial from the study, carries it out in child processes and reports back.

It imports neither torch nor Lightning; the children do.
"""

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from statistics import fmean
from typing import TYPE_CHECKING, Any

from capsbench.compose import compose
from capsbench.config import Config
from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.processes import die_with_parent
from capsbench.storage import open_storage
from capsbench.studies import queue
from capsbench.studies.children import POLL, Children, Ending
from capsbench.studies.choices import INSIDE_A_RUN, make_pruner, make_sampler
from capsbench.studies.heartbeat import Heartbeat
from capsbench.studies.plan import with_seed
from capsbench.studies.space import draw, from_json, override
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP, stopping_on_signals
from capsbench.training.identity import is_done
from capsbench.training.runs import PRUNED_FILE, RunFolder, State, run_folder, run_record

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

ARM = "trial"
# What capsbench.training.callbacks.pruning reads; importing it from there would import Lightning.
LINKED_TRIAL = "CAPSBENCH_TRIAL"
log = logging.getLogger(__name__)


class WorkerTask:
    """The task function that a Hydra launcher carries to where it runs."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(self, _: Any) -> int:
        """Work until nothing is left; returns the number of trials taken."""
        from hydra.core.hydra_config import HydraConfig

        if os.getppid() == self.spec.sweeper["pid"] and queue.this_process()["host"] == self.spec.sweeper["host"]:
            die_with_parent()
        with suppress(FileNotFoundError):
            os.chdir(self.spec.cwd)
        with stopping_on_signals():
            return Worker(self.spec, int(HydraConfig.get().job.num)).work()


@dataclass
class Outcome:
    """How a run or a trial came out: state is done, pruned, failed, lost or stopped."""

    state: str
    metrics: dict[str, float] = field(default_factory=dict)
    error: str = ""


class Worker:
    """One worker of a study.

    Args:
        spec: the study.
        index: number of this worker among those that were launched together.
    """

    def __init__(self, spec: Spec, index: int) -> None:
        self.spec, self.index = spec, index
        self.folder = Path(spec.folder)
        self.space = from_json(spec.space, spec.conditions)
        self.composed: dict[tuple[str, ...], Config] = {}
        self.study = open_study(spec, index)
        environment = {"CUDA_VISIBLE_DEVICES": spec.gpus[index % len(spec.gpus)]} if spec.gpus else {}
        zygote_log = self.folder / "workers" / f"{queue.this_process()['host']}-{os.getpid()}.log"
        self.children = Children(spec.program, spec.isolation, zygote_log, environment, STOP.is_set)

    def work(self) -> int:
        """Take trials until none is left or the worker is told to stop; returns how many were taken."""
        taken = 0
        with Heartbeat(self.study, self.spec) as heart:
            try:
                while not STOP.is_set() and not self.too_many_failures():
                    queue.reap(self.study, grace=self.spec.grace, max_retries=self.spec.max_retries)
                    trial = self.take()
                    if trial is None:
                        break
                    with heart.of(trial):
                        self.carry_out(trial)
                    taken += 1
            finally:
                self.children.close()
        return taken

    def too_many_failures(self) -> bool:
        """Whether this session has failed more often than allowed."""
        limit = self.spec.max_failures
        return limit is not None and len(queue.failures(self.study, self.spec.session)) > limit

    def take(self) -> "Trial | None":
        """The next trial that is this worker's to carry out."""
        from optuna.trial import TrialState

        while not STOP.is_set():
            if self.spec.kind == "search":
                counting = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
                left = self.spec.total - len(self.study.get_trials(deepcopy=False, states=counting))
                if left <= 0 or "exhausted" in self.study.user_attrs:
                    return None
            elif not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                return None
            trial = self.study.ask()
            trial.set_user_attr(queue.WORKER, {**queue.this_process(), "session": self.spec.session})
            if self.is_ours(trial):
                return trial
            queue.give_back(self.study, trial)
        return None

    def is_ours(self, trial: "Trial") -> bool:
        """Whether the trial is not one too many."""
        from optuna.trial import TrialState

        if self.spec.kind == "search":
            return queue.is_within_total(self.study, trial.number, self.spec.total)
        frozen = self.frozen(trial)
        if queue.KEY not in frozen.user_attrs:  # another worker took the last run in the queue; this one was made up
            return False
        older = queue.older_states(self.study, frozen)
        if TrialState.COMPLETE in older:
            cfg, _ = self.run_of(frozen)
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
        runs = self.runs_of(trial)
        trial.set_user_attr(queue.FOLDERS, [str(run_folder(cfg).path) for cfg, _ in runs])
        if self.spec.kind == "search":
            trial.set_user_attr(queue.OVERRIDES, runs[0][1])
        self.copy_reports(trial)
        found: list[dict[str, float]] = []
        for position, (cfg, overrides) in enumerate(runs):
            outcome = self.one_run(trial, cfg, overrides, first=position == 0)
            if outcome.state != "done":
                return outcome
            found.append(outcome.metrics)
            if self.spec.pruner.get("name") == "wilcoxon" and len(runs) > 1:
                trial.report(outcome.metrics[next(iter(self.spec.objectives))], step=position)
                if position + 1 < len(runs) and trial.should_prune():
                    return Outcome("pruned", _means(found))
        return Outcome("done", _means(found))

    def one_run(self, trial: "Trial", cfg: Config, overrides: list[str], *, first: bool) -> Outcome:
        """Carry out one run in a child process, or find that it is there."""
        folder = run_folder(cfg)
        while folder.state is State.running and not is_done(folder, cfg):
            if STOP.wait(POLL):
                return Outcome("stopped")
        if is_done(folder, cfg):
            return Outcome("done", folder.result()["metrics"])
        (folder.path / "failed.json").unlink(missing_ok=True)
        (folder.path / PRUNED_FILE).unlink(missing_ok=True)
        if self.spec.threads is not None:
            threads = min(self.spec.threads, cfg.trainer.threads or self.spec.threads)
            cfg = replace(cfg, trainer=replace(cfg.trainer, threads=threads))
            overrides = [*overrides, f"trainer.threads={threads}"]
        seconds = None if self.spec.minutes is None else 60 * self.spec.minutes
        output = folder.path / "output.log"
        ending = self.children.run(cfg, overrides, output, self.link(trial, first=first), seconds)
        return self.outcome(cfg, folder, ending)

    def outcome(self, cfg: Config, folder: RunFolder, ending: Ending) -> Outcome:
        """What the run left on disk, and what its end says where it left nothing."""
        if is_done(folder, cfg):
            return Outcome("done", folder.result()["metrics"])
        if folder.state is State.pruned:
            return Outcome("pruned", json.loads((folder.path / PRUNED_FILE).read_text())["metrics"])
        if ending.stopped:
            return Outcome("stopped")
        if ending.late:
            return self.failed(cfg, folder, f"stopped after its time limit of {self.spec.minutes:g} minutes")
        if (folder.path / "failed.json").exists():
            return Outcome("failed", error=folder.failure()["error"])
        if ending.status < 0 or folder.state is State.running:
            return Outcome("lost", error=f"its process was killed by signal {-ending.status}")
        return self.failed(cfg, folder, _last_line(folder.path / "output.log") or f"exit status {ending.status}")

    def failed(self, cfg: Config, folder: RunFolder, error: str) -> Outcome:
        """Write down a failure that the run could not write down itself, being dead."""
        rmtree(folder.path / "claim", ignore_errors=True)
        origin: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            origin = json.loads((folder.path / "provenance.json").read_text())
        values = {
            "schema": 1,
            "state": "failed",
            "run": run_record(cfg),
            "error": error,
            "traceback": "",
            "provenance": origin,
        }
        write_atomic(folder.path / "failed.json", json.dumps(values, indent=2) + "\n")
        return Outcome("failed", error=error)

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
            cfg, _ = self.runs_of(trial)[0]
            tries = int(frozen.user_attrs.get(queue.TRIES, 0)) + 1
            self.failed(cfg, run_folder(cfg), f"{outcome.error}, {tries} times")
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

    def runs_of(self, trial: "Trial") -> list[tuple[Config, list[str]]]:
        """Configuration and overrides of each of a trial's runs; draws the parameters of a search."""
        if self.spec.kind == "ablation":
            return [self.run_of(self.frozen(trial))]
        chosen = draw(trial, self.space)
        overrides = [*self.spec.fixed, *(override(name, value) for name, value in chosen.items()), f"run.arm={ARM}"]
        cfg = self.compose(tuple(overrides))
        return [(with_seed(cfg, seed), [*overrides, f"seed={seed}"]) for seed in self.spec.seeds]

    def run_of(self, trial: "FrozenTrial") -> tuple[Config, list[str]]:
        """Configuration and overrides of an ablation's run."""
        overrides, seed = self.spec.arms[trial.user_attrs[queue.ARM]], trial.user_attrs[queue.SEED]
        return with_seed(self.compose(overrides), seed), [*overrides, f"seed={seed}"]

    def compose(self, overrides: tuple[str, ...]) -> Config:
        """The configuration of some overrides; that of the last arms is remembered."""
        if overrides not in self.composed:
            if len(self.composed) > 100:
                self.composed.clear()
            self.composed[overrides] = compose(overrides)
        return self.composed[overrides]

    def link(self, trial: "Trial", *, first: bool) -> dict[str, str]:
        """Environment by which a run finds its trial, where a pruner wants to hear of its epochs."""
        if self.spec.pruner.get("name") not in INSIDE_A_RUN or not first:
            return {}
        values = {
            "storage": self.spec.storage,
            "study": self.spec.study,
            "number": trial.number,
            "pruner": self.spec.pruner,
            "monitor": next(iter(self.spec.objectives)),
        }
        return {LINKED_TRIAL: json.dumps(values)}

    def copy_reports(self, trial: "Trial") -> None:
        """A run that goes on from its checkpoint does not report its first epochs again."""
        origin = self.frozen(trial).user_attrs.get(queue.RETRY_OF)
        if origin is not None and self.spec.pruner.get("name") in INSIDE_A_RUN:
            for step, value in self.study.get_trials(deepcopy=False)[origin].intermediate_values.items():
                trial.report(value, step)

    def frozen(self, trial: "Trial") -> "FrozenTrial":
        """The trial as it stands in the storage."""
        return self.study.get_trials(deepcopy=False)[trial.number]


def open_study(spec: Spec, index: int = 0) -> "Study":
    """The study with the sampler of one worker, which draws differently from the others and from earlier starts."""
    import optuna
    from optuna.trial import TrialState

    storage = open_storage(spec.storage)
    study = optuna.load_study(study_name=spec.study, storage=storage, sampler=optuna.samplers.RandomSampler())
    seed = spec.sampler.get("seed")
    if seed is not None:
        seen = [trial for trial in study.get_trials(deepcopy=False) if trial.state is not TrialState.WAITING]
        seed = int(seed) + 1_000_003 * index + 7_919 * len(seen)
    if spec.kind == "search":
        study.sampler = make_sampler(spec.sampler, seed)
        study.pruner = make_pruner(spec.pruner)
    return study


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    common = set.intersection(*(set(metrics) for metrics in found))
    return {name: fmean(metrics[name] for metrics in found) for name in sorted(common)}


def _last_line(path: Path) -> str:
    with suppress(OSError):
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""
    return ""
