"""Weights out of checkpoint files, read without running any code that they may hold."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from capsbench.errors import CapsbenchError


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a run's last.ckpt or best.ckpt.

    Raises:
        CapsbenchError: if the file is missing, damaged or of another model.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CapsbenchError(f"no checkpoint at {path}") from None
    except Exception as error:
        raise CapsbenchError(f"{path} is not a readable checkpoint: {error}") from error
    state = content.get("model") if isinstance(content, dict) else None
    if state is None and isinstance(content, dict):
        prefix = "model."
        state = {n.removeprefix(prefix): v for n, v in content.get("state_dict", {}).items() if n.startswith(prefix)}
    try:
        model.load_state_dict(state or {})
    except RuntimeError as error:
        raise CapsbenchError(f"{path} holds the weights of another model: {error}") from None


class Head(NamedTuple):
    """What a run's last.ckpt says about the run.

    Attributes:
        step: optimiser steps done.
        compiled: whether the run trains with a compiled step.
    """

    step: int
    compiled: bool


def read_head(path: Path) -> Head:
    """How far a run had come when its last.ckpt was written.

    Raises:
        CapsbenchError: if the file is damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return Head(int(content["global_step"]), bool(content["compiled"]))
    except Exception as error:
        raise CapsbenchError(
            f"{path} is not a readable checkpoint ({error}); remove it to start the run from scratch"
        ) from error
