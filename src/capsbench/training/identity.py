"""Whether a run that is on disk is the run that is asked for."""

from typing import Any

from omegaconf import OmegaConf

from capsbench.config import Config, digest
from capsbench.training.runs import RunFolder, State


def plain(cfg: Config) -> dict[str, Any]:
    """The configuration as plain dictionaries, lists, numbers and text."""
    values = OmegaConf.to_container(OmegaConf.structured(cfg), resolve=True, enum_to_str=True)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def evaluation_digest(cfg: Config) -> str:
    """Identity of what is measured after training."""
    return digest(plain(cfg)["evaluation"])


def is_done(folder: RunFolder, cfg: Config) -> bool:
    """Whether the run has finished with all the evaluations that are asked for."""
    return folder.state is State.done and folder.result().get("evaluation") == evaluation_digest(cfg)
