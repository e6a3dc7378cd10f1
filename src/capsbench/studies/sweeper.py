"""A sweep from its file to its end: set the study up, launch workers, take over from those that die, sum up."""

import logging
import os
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from capsbench.compose import compose, shipped
from capsbench.config import digest, run_hash
from capsbench.errors import CapsbenchError
from capsbench.storage import JOURNAL, checked_url, open_storage
from capsbench.studies import queue
from capsbench.studies.choices import pick_sampler
from capsbench.studies.machine import share, visible_gpus
from capsbench.studies.outcome import run_outcome, trial_outcome
from capsbench.studies.plan import failed, plan, set_damage_aside
from capsbench.studies.search_file import Search, load_design
from capsbench.studies.space import as_json, grid_size, is_sweep, parse_space
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP, stopping_on_signals
from capsbench.studies.watch import Watch
from capsbench.studies.worker import WorkerTask, open_study
from capsbench.sweep_file import Sweep

if TYPE_CHECKING:
    from hydra.types import HydraContext
    from optuna import Study
    from optuna.trial import FrozenTrial

SAME_DESIGN = ("space", "conditions", "objectives", "constraints", "seeds", "base")
JOURNAL_NAME = "study.journal"
WAIT_SECONDS = 1.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """`hydra.sweeper`: how a sweep is carried out, none of which changes a result. Explained in the plugin."""

    sweep: str
    preset: str | None
    study: str | None
    storage: str | None
    workers: int
    isolation: str
    program: str
    trials: int | None
    retry_failed: bool
    max_failures: int | None
    max_retries: int
    minutes: float | None
    heartbeat: float
    grace: float


def read_options(config: DictConfig) -> Options:
    """The sweeper's part of Hydra's configuration.

    Raises:
        CapsbenchError: if no sweep is named, or a value cannot be.
    """
    values = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(values, dict)
    options = Options(**{item.name: values[item.name] for item in fields(Options)})
    if not options.sweep:
        raise CapsbenchError("hydra.sweeper.sweep is empty; name a sweep file, as +sweep=quick does")
    if options.isolation not in ("fork", "process"):
        raise CapsbenchError(f"hydra.sweeper.isolation={options.isolation} is unknown; valid: fork, process")
    if options.workers < 1:
        raise CapsbenchError(f"hydra.sweeper.workers={options.workers} must be at least 1")
    return options


def sweep(config: DictConfig, context: "HydraContext", arguments: Sequence[str]) -> None:
    """Carry out a sweep file.

    Args:
        config: Hydra's configuration of the multirun.
        context: handed on to the launcher.
        arguments: overrides for every run.

    Raises:
        CapsbenchError: for a mistake in the file or the arguments.
        KeyboardInterrupt: after a clean stop.
        SystemExit: with status 1 if a run failed.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        raise CapsbenchError("a sweep was started as part of a run on several devices; start it by itself")
    options = read_options(config)
    design = load_design(options.sweep, shipped("sweeps"), options.preset)
    overrides = [text for text in arguments if not text.lstrip("+").startswith("sweep=")]
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    if launcher == "basic" and options.workers > 1:
        raise CapsbenchError(
            f"hydra/launcher=basic has one worker, not {options.workers}; use hydra/launcher=joblib for several"
        )
    with stopping_on_signals():
        STOP.clear()
        if isinstance(design, Sweep):
            status = AblationSweep(design, overrides, options, launcher).run(config, context)
        else:
            status = SearchSweep(design, overrides, options, launcher).run(config, context)
    if STOP.is_set():
        raise KeyboardInterrupt
    if status:
        sys.exit(status)


def launch(spec: Spec, workers: int, config: DictConfig, context: "HydraContext") -> Exception | None:
    """Start workers through Hydra's launcher and wait for them.

    Returns:
        What went wrong with a worker, if anything; the study knows what is done.
    """
    from hydra.core.plugins import Plugins

    with open_dict(config):
        config.hydra.sweep.dir = str(Path(spec.folder) / "workers")
        if "n_jobs" in config.hydra.launcher:
            config.hydra.launcher.n_jobs = workers
    for name in ("hydra", "hydra_plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)
    task: Any = WorkerTask(spec)
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    try:
        folder = f"hydra.sweep.dir='{config.hydra.sweep.dir}'"
        for job in launcher.launch([[folder, "hydra.sweep.subdir=."] for _ in range(workers)], initial_job_idx=0):
            _ = job.return_value  # raises a worker's own error
    except Exception as error:
        return error
    return None


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
        queue.reap(study, grace=self.spec.grace, max_retries=self.spec.max_retries)
        queue.enqueue_runs(study, self.todo)
        with Watch(self.spec, len(self.runs), done, self.line, self.name):
            work_off(study, self.spec, self.options.workers, config, context)
        return 1 if failed(self.runs) else 0

    def line(self, trial: "FrozenTrial") -> str | None:
        """What is said about a run that has ended."""
        run = self.by_key.get(trial.user_attrs.get(queue.KEY, ""))
        return None if run is None else run_outcome(trial, run)

    def name(self, trial: "FrozenTrial") -> str:
        """A running run's name."""
        run = self.by_key.get(trial.user_attrs.get(queue.KEY, ""))
        return "" if run is None else run.name


class SearchSweep:
    """Trials that a sampler draws, up to a total."""

    def __init__(self, design: Search, overrides: Sequence[str], options: Options, launcher: str) -> None:
        self.options, self.design = options, design
        params = dict(design.params)
        fixed = [text for text in overrides if not is_sweep(text)]
        for text in overrides:
            key, _, value = text.partition("=")
            if is_sweep(text):
                params[key.lstrip("+")] = value
            else:
                params.pop(key.lstrip("+"), None)
        if not params:
            raise CapsbenchError(f"{design.name}: nothing is left to search; every parameter was given a value")
        self.space = parse_space(params)
        group = options.study or design.group
        base = (*design.base, f"run.group={group}", "trainer.progress=false", *fixed)
        cfg = compose([*base, "run.arm=trial"])
        total = options.trials or design.trials
        conditional = bool(self.space.conditions)
        sampler = {
            **design.sampler,
            "name": pick_sampler(design.sampler["name"], trials=total, conditional=conditional),
        }
        size = grid_size(self.space.distributions.values())
        if sampler["name"] == "brute":
            if size is None:
                raise CapsbenchError(f"{design.name}: sampler=brute needs choices and ranges only, not intervals")
            if not conditional:
                total = min(total, size)
        self.base_hash = run_hash(cfg)
        self.spec = make_spec(
            options, launcher, (Path(cfg.run.root) / group).absolute(), group, devices=cfg.trainer.devices,
            kind="search", total=total, fixed=base, space=as_json(self.space), conditions=self.space.conditions,
            objectives=design.objectives, constraints=design.constraints, seeds=design.seeds, sampler=sampler,
            pruner=design.pruner,
        )  # fmt: skip

    def run(self, config: DictConfig, context: "HydraContext") -> int:
        """Carry out the trials that are left; returns the exit status."""
        from capsbench.studies.summary import TOTAL, summary_text, write_summary

        study = create_study(self.spec)
        self.refuse_changes(study)
        study.set_user_attr(TOTAL, self.spec.total)
        for point in self.design.enqueue:
            study.enqueue_trial(point, user_attrs={"baseline": True}, skip_if_exists=True)
        queue.reap(study, grace=self.spec.grace, max_retries=self.spec.max_retries)
        done = queue.counted(study)
        print(
            f"{self.spec.total} trials, {done} of them there already; sampler {self.spec.sampler['name']}", flush=True
        )
        if done < self.spec.total:
            with Watch(self.spec, self.spec.total, done, self.line, self.name):
                work_off(study, self.spec, self.options.workers, config, context)
        print(summary_text(write_summary(study, self.design, Path(self.spec.folder))))
        short = queue.counted(study) < self.spec.total and "exhausted" not in study.user_attrs
        return 1 if short and not STOP.is_set() else 0

    def refuse_changes(self, study: "Study") -> None:
        """A study whose trials mean something else cannot be continued.

        Raises:
            CapsbenchError: naming what has changed.
        """
        values = {
            "space": self.spec.space,
            "conditions": self.spec.conditions,
            "objectives": self.spec.objectives,
            "constraints": self.spec.constraints,
            "seeds": list(self.spec.seeds),
            "base": self.base_hash,
        }
        before = study.user_attrs.get("design")
        if before is None:
            study.set_user_attr("design", values)
            study.set_metric_names(list(self.spec.objectives))
            return
        changed = [name for name in SAME_DESIGN if before[name] != values[name]]
        if changed:
            details = "; ".join(_change(name, before[name], values[name]) for name in changed)
            raise CapsbenchError(
                f"study {study.study_name} has {len(study.trials)} trials of another design ({details}). Their values "
                "do not compare with new ones. Undo the change, or start a new study beside it: "
                f"--study {study.study_name}-2"
            )

    def line(self, trial: "FrozenTrial") -> str | None:
        """What is said about a trial that has ended."""
        return trial_outcome(trial, list(self.spec.objectives))

    def name(self, trial: "FrozenTrial") -> str:
        """A running trial's name."""
        return f"trial {trial.number}"


def _change(name: str, before: Any, now: Any) -> str:
    if name == "base":
        return "other overrides for every run"
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return f"{name} of {', '.join(keys)}"
    return f"{name}: {before} became {now}"


def make_spec(options: Options, launcher: str, folder: Path, name: str, *, devices: int, **values: Any) -> Spec:
    """The study as workers see it."""
    threads, gpus = share(options.workers, devices, visible_gpus()) if launcher == "joblib" else (None, ())
    return Spec(
        folder=str(folder),
        storage=checked_url(options.storage or f"{JOURNAL}{folder / JOURNAL_NAME}"),
        study=name,
        session=secrets.token_hex(4),
        program=options.program,
        isolation=options.isolation,
        sweeper=queue.this_process(),
        cwd=str(Path.cwd()),
        threads=threads,
        gpus=gpus,
        max_failures=options.max_failures,
        max_retries=options.max_retries,
        minutes=options.minutes,
        heartbeat=options.heartbeat,
        grace=options.grace,
        **values,
    )


def create_study(spec: Spec) -> "Study":
    """The study, made if it is not there."""
    import optuna
    from optuna.study import StudyDirection

    storage = open_storage(spec.storage)
    directions = [StudyDirection[direction.upper()] for direction in spec.objectives.values()]
    optuna.create_study(study_name=spec.study, storage=storage, directions=directions, load_if_exists=True)
    return open_study(spec)


def work_off(study: "Study", spec: Spec, workers: int, config: DictConfig, context: "HydraContext") -> None:
    """Launch workers until nothing is left, taking over what lost workers leave.

    Raises:
        CapsbenchError: if workers keep ending without having finished anything.
    """
    idle = 0
    while not STOP.is_set():
        queue.reap(study, grace=spec.grace, max_retries=spec.max_retries)
        waiting, running = left(study, spec)
        if not waiting and not running:
            return
        if not waiting:  # another sweep works on this study
            STOP.wait(WAIT_SECONDS)
            continue
        before = ended(study)
        error = launch(spec, min(workers, waiting), config, context)
        limit = spec.max_failures
        if limit is not None and len(queue.failures(study, spec.session)) > limit:
            print(f"stopped: more than {limit} runs failed", file=sys.stderr)
            return
        idle = idle + 1 if ended(study) == before else 0
        if error is not None and not STOP.is_set():
            log.warning("a worker was lost (%s); its run is taken over", str(error).strip().splitlines()[:1])
        if idle > spec.max_retries and not STOP.is_set():
            raise CapsbenchError(
                f"workers end without finishing anything: {error or 'see the files in ' + spec.folder + '/workers'}"
            )
        if idle:
            time.sleep(WAIT_SECONDS)


def left(study: "Study", spec: Spec) -> tuple[int, int]:
    """How many runs or trials wait to be started, and how many are running."""
    from optuna.trial import TrialState

    running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    if spec.kind == "ablation":
        return len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,))), running
    if "exhausted" in study.user_attrs:
        return 0, running
    return max(0, spec.total - queue.counted(study) - running), running


def ended(study: "Study") -> int:
    """Trials that ended with a result or a failure of their own."""
    trials = study.get_trials(deepcopy=False)
    return sum(t.state.is_finished() and (t.state.name != "FAIL" or queue.ERROR in t.user_attrs) for t in trials)
