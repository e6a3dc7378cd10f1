"""What `capsbench sweep` and `capsbench status` do with their arguments."""

import argparse
from collections.abc import Sequence

from capsbench.compose import shipped
from capsbench.studies.plan import plan
from capsbench.studies.search_file import Search, load_design
from capsbench.studies.space import is_sweep
from capsbench.studies.status import Status, ablation_status, search_status
from capsbench.sweep_file import Sweep

HYDRA_KEY = "hydra"
OPTIONS = ("preset", "study", "storage", "isolation", "trials", "max_failures", "minutes")


def design_of(arguments: argparse.Namespace) -> Sweep | Search:
    """The sweep file that a command names.

    Raises:
        CapsbenchError: if there is no such file, or something in it is not valid.
    """
    return load_design(arguments.name, shipped("sweeps"), arguments.preset)


def status_of(design: Sweep | Search, arguments: argparse.Namespace) -> Status:
    """How far a sweep is."""
    overrides = own_overrides(arguments.overrides)
    if isinstance(design, Sweep):
        return ablation_status(plan(design, overrides))
    fixed = [text for text in overrides if not is_sweep(text)]
    return search_status(design, fixed, arguments.study, arguments.storage)


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides that are about runs, not about Hydra's launcher."""
    return [text for text in overrides if not text.lstrip("+~").startswith((HYDRA_KEY + ".", HYDRA_KEY + "/"))]


def hydra_arguments(arguments: argparse.Namespace) -> list[str]:
    """The `capsbench train -m ...` that a `capsbench sweep ...` stands for."""
    workers = arguments.workers
    launcher = arguments.launcher or ("joblib" if workers > 1 else None)
    words = [
        "-m",
        "hydra/hydra_logging=none",
        "hydra/sweeper=capsbench_study",
        f"hydra.sweeper.sweep={_quoted(arguments.name)}",
        f"hydra.sweeper.workers={workers}",
        f"hydra.sweeper.retry_failed={str(arguments.retry_failed).lower()}",
    ]
    for name in OPTIONS:
        value = getattr(arguments, name)
        if value is not None:
            words.append(f"hydra.sweeper.{name}={_quoted(value) if isinstance(value, str) else value}")
    if launcher is not None:
        words.append(f"hydra/launcher={launcher}")
    return [*words, *arguments.overrides]


def start_sweep(arguments: argparse.Namespace) -> int:
    """Carry a sweep out through Hydra; returns the exit status."""
    from capsbench.app import main

    try:
        main(hydra_arguments(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
