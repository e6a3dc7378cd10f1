"""Stops a run whose numbers are no longer numbers, and says at which step and in which layer that began."""

import pytorch_lightning as pl
import torch
from typing_extensions import override

from capsbench.errors import CapsbenchError
from capsbench.training.not_finite import culprit, spoiled_state
from capsbench.training.task import ClassificationTask

ADVICE = "Try a lower optimizer.lr, optimizer.clip_norm=1 or trainer.precision=32-true"


class NonFiniteLoss(CapsbenchError):
    """The loss of a training step, or what it made of the weights, was NaN or infinite."""


class NoUpdateAfterNonFinite(pl.Callback):
    """Leaves the weights as they were before the first step whose loss was not finite; a step waits for nothing.

    PyTorch's fused optimisers skip an update on the device where their `found_inf` says so, as for gradient scaling.
    """

    @override
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, ClassificationTask)
        optimizer.found_inf = (pl_module.first_bad_step >= 0).float()  # type: ignore[attr-defined]

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ClassificationTask)
        stop_if_not_finite(trainer, pl_module)
        stop_if_spoiled(trainer, pl_module)


def stop_if_not_finite(trainer: pl.Trainer, task: ClassificationTask) -> None:
    """Raise if any training step so far had a loss that is not a number; waits for the device.

    Raises:
        NonFiniteLoss: naming the first such step, and the layer where it began.
    """
    step = int(task.over_ranks(task.first_bad_step, "max"))
    if step >= 0:
        found = culprit(trainer, task, step)
        raise NonFiniteLoss(
            f"the loss was not finite at step {step}{f' ({found})' if found else ''}; last.ckpt is from before it. "
            f"{ADVICE}"
        )


def stop_if_spoiled(trainer: pl.Trainer, task: ClassificationTask) -> None:
    """Raise before weights are kept that no step can go on from: a finite loss may have other gradients.

    Raises:
        NonFiniteLoss: naming the step and the parameter.
    """
    found = spoiled_state(trainer, task)
    if found:
        raise NonFiniteLoss(
            f"{found} was not finite at step {trainer.global_step} or shortly before; last.ckpt is from before it. "
            f"{ADVICE}"
        )
