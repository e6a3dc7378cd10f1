"""The best configuration of a search as an experiment file, so that anyone trains it again by name."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.report.concerns import hardware
from capsbench.report.search import FRESH_SEEDS, NOT_THE_CONFIGURATION, SearchRecord, Trial

GROUPS = ("data", "model", "loss", "optimizer", "trainer")
# How a trial was looked at is no part of what was found.
NOT_FOUND = ("evaluation", "logger")


def write_experiment(search: SearchRecord, path: Path) -> Path:
    """Write the best trial's configuration to `path`, usually `conf/experiment/search/NAME.yaml`.

    Raises:
        CapsbenchError: there is no best trial, or there are several.
    """
    if path.suffix != ".yaml":
        raise CapsbenchError(f"--experiment {path}: the file's name must end in .yaml")
    if len(search.objectives) != 1:
        raise CapsbenchError(f"{search.name} has {len(search.objectives)} objectives: no single configuration is best")
    if not search.winners:
        raise CapsbenchError(f"no trial of {search.study} is complete: there is no best configuration yet")
    write_atomic(path, experiment_text(search, search.winners[0], path.parent.name, path.stem))
    return path


def experiment_text(search: SearchRecord, trial: Trial, group: str, name: str) -> str:
    """One experiment file: where it is from, the choices of groups, then the keys."""
    from omegaconf import OmegaConf

    objective, value = next(iter(trial.values.items()))
    preset = f" --preset {shlex.quote(search.preset)}" if search.preset else ""
    machines = ", ".join(dict.fromkeys(hardware(run.provenance) for run in search.runs)) or "unknown hardware"
    seconds = trial.metrics.get("time/train_seconds")
    time = "not measured" if seconds is None else f"{seconds:.0f} s of training"
    seeds = ",".join(map(str, FRESH_SEEDS))
    head = [
        "# @package _global_",
        f"# Source: trial {trial.number} of `capsbench sweep {shlex.quote(search.name)}{preset}`, the best of "
        f"{len(search.complete)} complete ones.",
        f"# Expected: {objective} {value:.4g} on validation images, which chose it; not a published result.",
        f"# Time and hardware: {time} on {machines}.",
        f"# Command: capsbench train experiment={group}/{name} -m seed={seeds}",
    ]
    chosen = {key: text for key, text in map(_split, trial.overrides) if not _is_left_out(key)}
    defaults: list[Any] = [{f"override /{key}": chosen.pop(key)} for key in GROUPS if key in chosen]
    values: dict[str, Any] = {"defaults": [*defaults, "_self_"], "run": {"group": group, "arm": name}}
    drawn = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={text}" for key, text in chosen.items()]))
    assert isinstance(drawn, dict)
    values |= {str(key): value for key, value in drawn.items()}
    return "\n".join(head) + "\n" + yaml.safe_dump(values, sort_keys=False)


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key.lstrip("+~"), value


def _is_left_out(key: str) -> bool:
    return key in NOT_THE_CONFIGURATION or key.partition(".")[0] in (*NOT_FOUND, "run", "hydra")
