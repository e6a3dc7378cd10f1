"""How a sweep is carried out: Hydra's `hydra.sweeper`, and what workers are told of it."""

import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from capsbench.errors import CapsbenchError
from capsbench.processes import this_process
from capsbench.storage import JOURNAL, checked_url
from capsbench.studies.machine import share, visible_gpus
from capsbench.studies.spec import Spec

JOURNAL_NAME = "study.journal"


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
        sweeper=this_process(),
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
