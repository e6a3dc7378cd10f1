"""`capsbench doctor`: the state of the installation, as a run of these overrides would meet it."""

from collections.abc import Callable, Iterable
from pathlib import Path

from capsbench.config import Config
from capsbench.doctor import arithmetic, installation, machine, services
from capsbench.doctor.finding import Finding, examined


def examine(cfg: Config, storage: str | None = None) -> list[Finding]:
    """Look at everything that a run needs; nothing stays behind, and a look that breaks is a finding.

    Args:
        cfg: the run that is asked about: its folder, data and logger are looked at.
        storage: where a study is to be kept, if not in a journal beside the runs.
    """
    looks: list[tuple[str, Callable[[], Finding | Iterable[Finding]]]] = [
        ("capsbench", installation.package),
        ("python", installation.python),
        ("packages", installation.packages),
        ("devices", arithmetic.devices),
        ("compile", arithmetic.compiling),
        ("cores", machine.processors),
        ("memory", machine.memory),
        ("runs", lambda: machine.runs_folder(Path(cfg.run.root))),
        ("cache", machine.cache),
        ("data", lambda: services.data(cfg.data)),
        ("W&B", lambda: services.tracking(cfg.logger.wandb)),
    ]
    if storage is not None:
        looks.append(("storage", lambda: services.database(storage)))
    return [finding for name, look in looks for finding in examined(name, look)]
