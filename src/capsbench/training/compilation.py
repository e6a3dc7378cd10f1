"""Whether compiling the training step repays itself, and a step that falls back to eager where compiling fails."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from capsbench.config import Config

Step = Callable[..., tuple[dict[str, Tensor], Tensor]]

# Measured on 2 cores: CapsNet's step at batch 128 compiles in 10 to 20 s and then takes about half of its eager time.
COMPILE_SECONDS = 20.0
SAVED_SHARE = 0.45
SLOWEST_WORTH = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """Whether to compile, and why, in words for the log."""

    compile: bool
    reason: str


def decide(cfg: Config, steps: int, seconds_per_step: float) -> Decision:
    """Weigh what compiling costs against what it saves over the run's steps.

    Args:
        cfg: `trainer.compile` forces the answer with true or false.
        steps: the run's optimiser steps.
        seconds_per_step: measured for the eager step.
    """
    asked = cfg.trainer.compile
    if isinstance(asked, bool):
        return Decision(asked, f"trainer.compile={str(asked).lower()}")
    if not torch.cuda.is_available() and shutil.which("g++") is None and shutil.which("clang++") is None:
        return Decision(compile=False, reason="no C++ compiler is installed")
    saved = steps * seconds_per_step * SAVED_SHARE
    worth = saved > SLOWEST_WORTH * COMPILE_SECONDS
    return Decision(
        worth,
        f"{steps} steps of about {seconds_per_step * 1000:.0f} ms; compiling would save about {saved:.0f} s "
        f"for about {COMPILE_SECONDS:.0f} s",
    )


def compiled_or_eager(eager: Step, model: nn.Module, *batch: Tensor) -> tuple[Step, float]:
    """The compiled step, proved by one forward and backward pass; the eager one, with a warning, where that fails.

    Gradients, buffers and random generators are afterwards what they were before.

    Args:
        eager: losses of a batch.
        model: whose parameters and buffers the step uses.
        batch: what the step takes, in the shapes that training has: images, classes.

    Returns:
        The step to use, and the seconds that compiling took.
    """
    started = time.perf_counter()
    # On a GPU the step is many short kernels: recorded as a CUDA graph they start without the host.
    compiled = torch.compile(eager, mode="reduce-overhead" if batch[0].is_cuda else "default")
    try:
        rehearse(compiled, model, *batch)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        log.warning("compiling failed, training goes on without it: %s", problem)
        torch.compiler.reset()
        return eager, time.perf_counter() - started
    return compiled, time.perf_counter() - started


def rehearse(step: Step, model: nn.Module, *batch: Tensor) -> None:
    """One forward and backward pass that leaves no trace."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [batch[0].device] if batch[0].is_cuda else []
    with torch.random.fork_rng(devices=devices, enabled=True):
        losses, _ = step(*batch)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(buffers[name])


def eager_seconds(step: Step, model: nn.Module, *batch: Tensor, repeats: int = 2) -> float:
    """Seconds of one eager step, measured after one that warms up."""
    rehearse(step, model, *batch)
    started = time.perf_counter()
    for _ in range(repeats):
        rehearse(step, model, *batch)
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats
