"""Whether a run that is on disk is the run that is asked for."""

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from capsbench.config import Config, digest
from capsbench.training.runs import RunFolder, State


def plain(cfg: Config) -> dict[str, Any]:
    """The configuration as plain dictionaries, lists, numbers and text."""
    return {item.name: _plain(getattr(cfg, item.name)) for item in fields(cfg)}


def evaluation_digest(cfg: Config) -> str:
    """Identity of what is measured after training."""
    return digest(_plain(cfg.evaluation))


def is_done(folder: RunFolder, cfg: Config) -> bool:
    """Whether the run has finished with all the evaluations that are asked for."""
    return folder.state is State.done and folder.result().get("evaluation") == evaluation_digest(cfg)


def _plain(value: Any) -> Any:
    # As OmegaConf.to_container writes it, without its 20 ms: a sweep asks this of every finished run.
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
