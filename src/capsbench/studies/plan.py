"""An ablation's runs: every arm with every seed, their configurations, folders and states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from capsbench.compose_cache import compose_or_recall
from capsbench.config import Config, run_hash
from capsbench.errors import CapsbenchError
from capsbench.sweep_file import Sweep
from capsbench.training.identity import is_done
from capsbench.training.runs import RunFolder, State, run_folder


@dataclass(frozen=True)
class Planned:
    """One run of an ablation."""

    arm: str
    seed: int
    cfg: Config
    folder: RunFolder
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the run is called on a line of output."""
        return f"{self.arm} seed {self.seed}"

    @property
    def key(self) -> str:
        """What the run is called in the study: its folder below the group's, which its configuration decides."""
        return f"{self.folder.path.parent.name}/{self.folder.path.name}"

    def needs_work(self, *, retry_failed: bool) -> bool:
        """Whether the run is to be carried out now."""
        state = self.folder.state
        if state is State.done:
            return retry_failed if self.damage() else not is_done(self.folder, self.cfg)
        return state is not State.failed or retry_failed

    def damage(self) -> str:
        """Why the result of a run that is done cannot be read; empty where it can, or there is none yet."""
        try:
            if self.folder.state is State.done:
                self.folder.result()
        except CapsbenchError as error:
            return str(error)
        return ""


def plan(sweep: Sweep, overrides: Sequence[str] = ()) -> list[Planned]:
    """All runs of an ablation, seed by seed, so that every arm has a first result early.

    Args:
        sweep: the design.
        overrides: Hydra overrides for every run, after the sweep file's own.

    Raises:
        CapsbenchError: if an arm's overrides do not compose.
    """
    fixed = [f"run.group={sweep.group}", "trainer.progress=false", *overrides]
    arms = list(sweep.arms)
    lists = [(*sweep.overrides(arm), f"run.arm={arm}", *fixed) for arm in arms]
    configs = compose_or_recall(lists)
    runs = []
    for seed in sweep.seeds:
        for arm, cfg, texts in zip(arms, configs, lists, strict=True):
            seeded = with_seed(cfg, seed)
            runs.append(Planned(arm, seed, seeded, run_folder(seeded), texts))
    return runs


def with_seed(cfg: Config, seed: int) -> Config:
    """The same configuration with another seed."""
    return replace(cfg, seed=seed)


def arm_hashes(runs: Sequence[Planned]) -> dict[str, str]:
    """The identity that each arm's configuration has now."""
    return {run.arm: run_hash(run.cfg) for run in runs}


def runs_root(runs: Sequence[Planned]) -> Path:
    """Folder that holds all run folders."""
    return Path(runs[0].cfg.run.root)


def seconds_left(runs: Sequence[Planned]) -> float | None:
    """Estimated seconds for the runs that are not done, from the finished runs of the same arm, else of any arm."""
    times: dict[str, list[float]] = {}
    for run in runs:
        if run.folder.state is State.done and not run.damage():
            seconds = (run.folder.result().get("metrics") or {}).get("time/wall_seconds")
            if seconds is not None:
                times.setdefault(run.arm, []).append(seconds)
    if not times:
        return None
    overall = median(value for values in times.values() for value in values)
    left = [run for run in runs if run.folder.state is not State.done]
    return sum(median(times.get(run.arm, [overall])) for run in left)


def failed(runs: Sequence[Planned]) -> list[Planned]:
    """Runs that ended with an error, or whose result cannot be read."""
    return [run for run in runs if run.folder.state is State.failed or run.damage()]


def set_damage_aside(runs: Sequence[Planned]) -> None:
    """Give a result that cannot be read another name, so that its run is made again from its checkpoint."""
    for run in runs:
        if run.damage():
            (run.folder.path / "result.json").rename(run.folder.path / "result.json.damaged")
