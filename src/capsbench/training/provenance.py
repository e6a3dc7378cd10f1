"""Where a result comes from: commit, versions, hardware, command."""

import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from capsbench.training.wandb_session import URL_PASSWORD

PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "optuna", "wandb", "numpy")


def now() -> str:
    """This moment in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """What is known about the code and the machine before a run starts."""
    return {**code_state(), **machine(), "command": command(), "started": now()}


def hardware_slug(origin: dict[str, Any]) -> str:
    """A machine's processor and cores as part of a file's name, such as `amd-epyc-2-cores`."""
    name = f"{origin['gpu'] or origin['cpu']}-{origin['cores']}-cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def command() -> str:
    """The command line that started this process: the program's name, and no user or password of an address."""
    program = Path(sys.argv[0]).name
    # A sweep's runs are children that run `python -m capsbench.app`, which is `capsbench train`.
    words = ["capsbench", "train"] if program == "app.py" else [program]
    return URL_PASSWORD.sub("***@", shlex.join([*words, *sys.argv[1:]]))


@lru_cache(maxsize=1)
def code_state() -> dict[str, Any]:
    """Version of this package, and the commit of its checkout when it is installed from one."""
    from capsbench import __version__

    here = Path(__file__).parent
    top = _git(here, "rev-parse", "--show-toplevel")
    tracked = bool(top) and bool(_git(here, "ls-files", "--error-unmatch", Path(__file__).name))
    changes = _git(here, "status", "--porcelain", "--untracked-files=no") if tracked else None
    return {
        "capsbench": __version__,
        "commit": _git(here, "rev-parse", "HEAD") if tracked else None,
        "describe": _git(here, "describe", "--always", "--dirty", "--tags") if tracked else None,
        "dirty": None if changes is None else bool(changes),
    }


@lru_cache(maxsize=1)
def machine() -> dict[str, Any]:
    """Versions of the packages that decide a result, processor and accelerator."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": gpu,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
