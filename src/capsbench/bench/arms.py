"""What can be timed: each arm is one optimiser step of some network, ready to be called again and again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from capsbench.bench.naive import NaiveCapsNet
from capsbench.bench.throughput import Subject
from capsbench.capsules.convolution import Convolution
from capsbench.capsules.relu import Relu
from capsbench.compose import compose
from capsbench.config import Config
from capsbench.config_models import CapsNet
from capsbench.errors import CapsbenchError
from capsbench.evaluation.cost import macs, parameters
from capsbench.models.build import build_model
from capsbench.training.compilation import compiled_or_eager, seconds_of
from capsbench.training.compiled_forward import compile_forward
from capsbench.training.hardware import Machine, pick_machine
from capsbench.training.task import ClassificationTask

SIZE, CHANNELS, CLASSES = 28, 1, 10
KINDS = ("compiled", "eager", "naive", "convolutions", "own_convolutions", "bare", "lightning")


@dataclass
class Arm:
    """One thing to time.

    Attributes:
        name: as on the command line.
        turn: takes this many optimiser steps and returns seconds per step, once or for each.
        evaluate: one forward pass without gradients.
        compile_seconds: what compiling took; None for eager arms.
    """

    name: str
    turn: Callable[[int], list[float]]
    evaluate: Callable[[], None]
    parameters: int
    macs: int
    compile_seconds: float | None = None


def bench_machine(overrides: Sequence[str]) -> Machine:
    """Device and precision of the arms that a configuration is shared by, with its threads from here on."""
    cfg = compose(overrides)
    if cfg.trainer.threads is not None:
        torch.set_num_threads(cfg.trainer.threads)
    return pick_machine(cfg)


def build_arm(name: str, overrides: Sequence[str], batch: int, machine: Machine) -> Arm:
    """An arm by its name on the command line.

    Args:
        name: a kind (`compiled` or `eager` step of the configured network on one batch; `naive`, the yardstick in the
            single precision that ports use; its two `convolutions` alone as PyTorch has them, or our
            `own_convolutions`; the compiled step on real batches in a `bare` loop or through `lightning`), or further
            overrides ("model=cnn_small", several joined by commas) for a compiled step of another network.
        overrides: configuration shared by all arms.
        batch: images per step.
        machine: device and precision.

    Raises:
        CapsbenchError: if the name means nothing.
    """
    if name not in KINDS and "=" not in name:
        raise CapsbenchError(
            f"unknown arm {name!r}; valid: {', '.join(KINDS)}, routing, or overrides such as model=cnn_small"
        )
    extra = name.split(",") if "=" in name else []
    cfg = compose([*overrides, *extra])
    torch.manual_seed(0)
    if name.endswith("convolutions"):
        return _convolutions(name, cfg, batch, machine)
    if name in ("bare", "lightning"):
        return _throughput(name, cfg, batch, machine)
    if name == "naive":
        machine = replace(machine, precision="32-true")
    model = NaiveCapsNet(_capsnet(cfg, name), CHANNELS, SIZE, CLASSES) if name == "naive" else _build(cfg)
    return _training(name, cfg, model, batch, machine, compile_step=name not in ("eager", "naive"))


def example(batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random images and labels; nothing here depends on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, CHANNELS, SIZE, SIZE, generator=generator)
    labels = torch.randint(0, CLASSES, (batch,), generator=generator)
    return images.to(device), labels.to(device)


def _build(cfg: Config) -> nn.Module:
    return build_model(cfg.model, CHANNELS, SIZE, CLASSES)


def _capsnet(cfg: Config, name: str) -> CapsNet:
    if not isinstance(cfg.model, CapsNet):
        raise CapsbenchError(f"the {name} arm needs a CapsNet, not model.name={cfg.model.name}")
    return cfg.model


def _training(name: str, cfg: Config, model: nn.Module, batch: int, machine: Machine, *, compile_step: bool) -> Arm:
    images, labels = example(batch, machine.device)
    cost = macs(model.to(machine.device).eval(), (CHANNELS, SIZE, SIZE), machine.device)
    model.train()
    task = ClassificationTask(cfg, model, planned_steps=1000).to(machine.device)
    seconds: float | None = None
    if compile_step:
        compile_forward(model, images, machine.autocast)
        with machine.autocast():
            task.step_losses, seconds = compiled_or_eager(task.step_losses, model, images, labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with machine.autocast():
            losses, _ = task.step_losses(images, labels)
        optimizer.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def evaluate() -> None:
        with torch.inference_mode(), machine.autocast():
            model(images)

    return Arm(name, lambda steps: timed(step, machine.device, steps), evaluate, parameters(model), cost, seconds)


def _throughput(name: str, cfg: Config, batch: int, machine: Machine) -> Arm:
    subject = Subject(cfg, batch, machine)
    images, _ = example(batch, machine.device)
    model = subject.task.model

    def evaluate() -> None:
        with torch.inference_mode(), machine.autocast():
            model(images)

    turn = subject.bare if name == "bare" else subject.lightning
    return Arm(name, turn, evaluate, parameters(model), subject.macs)


def _convolutions(name: str, cfg: Config, batch: int, machine: Machine) -> Arm:
    """CapsNet's two convolutions alone, compiled, forward and backward: what no routing code can be faster than."""
    model = _capsnet(cfg, name)
    convolution, rectify = (nn.Conv2d, nn.ReLU) if name == "convolutions" else (Convolution, Relu)
    stem = convolution(CHANNELS, model.stem_channels, model.stem_kernel)
    primary = convolution(
        model.stem_channels, model.primary_types * model.primary_dim, model.primary_kernel, model.primary_stride
    )
    network = nn.Sequential(stem, rectify(), primary).to(machine.device)
    images, _ = example(batch, machine.device)
    compiled = torch.compile(lambda x: network(x).float().square().mean())
    cost = macs(network, (CHANNELS, SIZE, SIZE), machine.device)

    def step() -> None:
        with machine.autocast():
            loss = compiled(images)
        network.zero_grad()
        loss.backward()

    def evaluate() -> None:
        with torch.inference_mode(), machine.autocast():
            network(images)

    def turn(steps: int) -> list[float]:
        return timed(step, machine.device, steps)

    return Arm(name, turn, evaluate, parameters(network), cost)


def timed(call: Callable[[], None], device: torch.device, times: int) -> list[float]:
    """Seconds of each of several calls, the device waited for."""
    return [seconds_of(call, device) for _ in range(times)]
