"""Whether compiling the training step repays itself, and a step that falls back to eager where compiling fails."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from capsbench.config import Config

Step = Callable[..., tuple[dict[str, Tensor], Tensor]]

# Measured on 2 cores: a step compiles in 10 to 40 s, once. Convolutions and matrix products take as long afterwards; of
# what lies between them about 0.6 goes. On a GPU, where short kernels wait for the host, it is a share of all.
COMPILE_SECONDS = 20.0
SAVED_BETWEEN_PRODUCTS, SAVED_ON_GPU = 0.6, 0.45
SLOWEST_WORTH = 2.0

aten = torch.ops.aten
PRODUCTS = {
    *(aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.matmul, aten.linear),
    *(aten.conv2d, aten.convolution, aten.convolution_backward),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """Whether to compile, and why, in words for the log."""

    compile: bool
    reason: str


@dataclass(frozen=True)
class StepTime:
    """What an eager training step takes.

    Attributes:
        seconds: all of it.
        savable: what a compiled step is expected to take less.
    """

    seconds: float
    savable: float


def decide(cfg: Config, steps: int, eager: StepTime) -> Decision:
    """Weigh what compiling costs against what it saves over the run's steps.

    Args:
        cfg: `trainer.compile` forces the answer with true or false.
        steps: the run's optimiser steps.
        eager: measured for the eager step.
    """
    asked = cfg.trainer.compile
    if isinstance(asked, bool):
        return Decision(asked, f"trainer.compile={str(asked).lower()}")
    if not torch.cuda.is_available() and shutil.which("g++") is None and shutil.which("clang++") is None:
        return Decision(compile=False, reason="no C++ compiler is installed")
    saved = steps * eager.savable
    return Decision(
        saved > SLOWEST_WORTH * COMPILE_SECONDS,
        f"{steps} steps of about {eager.seconds * 1000:.0f} ms; compiling would save about {saved:.0f} s "
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
        log.warning("compiling failed, training goes on without it: %s", first_line(error))
        torch.compiler.reset()
        return eager, time.perf_counter() - started
    return compiled, time.perf_counter() - started


def first_line(error: Exception) -> str:
    """What went wrong, in one line: compilers write pages."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


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


def step_seconds(step: Step, model: nn.Module, *batch: Tensor, repeats: int = 3) -> float:
    """Seconds of one step: the shortest of several, of which the first warms up."""
    return min(seconds_of(lambda: rehearse(step, model, *batch), batch[0].device) for _ in range(repeats))


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, the device waited for before and after."""
    _wait(device)
    started = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def eager_time(step: Step, model: nn.Module, *batch: Tensor) -> StepTime:
    """Measure an eager step, and how much of it compiling can take away."""
    seconds = step_seconds(step, model, *batch)
    if batch[0].is_cuda:
        return StepTime(seconds, SAVED_ON_GPU * seconds)
    with _ProductClock() as clock:
        rehearse(step, model, *batch)
    return StepTime(seconds, SAVED_BETWEEN_PRODUCTS * max(0.0, seconds - clock.seconds))


class _ProductClock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Seconds that the operators in `PRODUCTS` take on a CPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = 0.0

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        started = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            self.seconds += time.perf_counter() - started
        return result
