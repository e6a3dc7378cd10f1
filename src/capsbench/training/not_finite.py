"""Which layer's numbers stopped being numbers first, found out after the fact by doing one training step again."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from capsbench.data.batches import TrainBatches
from capsbench.training.task import ClassificationTask


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors that hold a NaN or an infinity; waits for the device once."""
    named = [(name, tensor.detach()) for name, tensor in tensors if tensor.is_floating_point()]
    if not named:
        return []
    flags = torch.stack([~torch.isfinite(tensor).all() for _, tensor in named]).tolist()
    return [name for (name, _), bad in zip(named, flags, strict=True) if bad]


def spoiled_state(trainer: pl.Trainer, task: ClassificationTask) -> str:
    """What of weights and optimiser state is not finite, in the user's words; empty where all is.

    Gradients flow from the last layer to the first, so the last of the parameters that were spoiled is where it began.
    """
    spoiled = not_finite(task.model.named_parameters())
    if spoiled:
        return f"the gradient of {spoiled[-1]}"
    inner = (
        (f"the optimiser's {key} of {name}", value)
        for optimizer in trainer.optimizers
        for name, parameter in task.model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    )
    return next(iter(not_finite(inner)), "")


def culprit(trainer: pl.Trainer, task: ClassificationTask, step: int) -> str:
    """Where the loss of a step stopped being finite, in the user's words.

    The weights must be those from before that step (`callbacks.finite` sees to it). On several devices, whose batches
    this process does not have, nothing is said.
    """
    spoiled = spoiled_state(trainer, task)
    if spoiled:
        return f"after step {step - 1} {spoiled} was not"
    batches = trainer.train_dataloader
    if trainer.world_size > 1 or not isinstance(batches, TrainBatches):
        return ""
    again = copy.copy(batches)
    again.done = step - 1
    batch = next(iter(again))
    if not_finite([("images", batch[0])]):
        return "the images themselves are not"
    first: list[str] = []
    handles = [module.register_forward_hook(_watch(name, first)) for name, module in task.model.named_modules() if name]
    try:
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            losses, _ = task._step_losses(*batch)
    finally:
        for handle in handles:
            handle.remove()
    if first:
        return f"the first values that are not are the output of {first[0]}"
    parts = not_finite((name, value) for name, value in losses.items() if name != "loss")
    return f"all layers' outputs are, but {' and '.join(parts) or 'the sum'} is not"


def _watch(name: str, first: list[str]) -> Any:
    def hook(module: nn.Module, _: Any, outputs: Any) -> None:
        if not first and not_finite((name, tensor) for tensor in _tensors(outputs)):
            first.append(f"{name} ({type(module).__name__})")

    return hook


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
