"""Checkpoint files: written whole or not at all, and read without running any code that they may hold."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import nn
from typing_extensions import override

from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values to a file that `torch.load(weights_only=True)` reads.

    Raises:
        CannotWrite: the disk is full, read-only or not the user's.
    """
    # Straight into a file, torch.save would report a full disk as a RuntimeError of its own.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getbuffer())


class CheckpointFiles(TorchCheckpointIO):
    """Lets Lightning write its checkpoints as `save_checkpoint` does; it calls this on the first rank alone."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        save_checkpoint(checkpoint, Path(path))


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model, where it is, from a run's last.ckpt or best.ckpt.

    Raises:
        CapsbenchError: if the file is missing, damaged or of another model.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CapsbenchError(f"no checkpoint at {path}") from None
    except Exception as error:
        raise CapsbenchError(f"{path} is not a readable checkpoint: {error}") from error
    try:
        state = content.get("model")
        if state is None:
            prefix, kept = "model.", content.get("state_dict", {})
            state = {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
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
