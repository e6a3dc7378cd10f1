"""Interleaved timing: every arm gets a turn in every round, so that whatever else the machine does hits all alike."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

import torch

from capsbench.bench.arms import Arm, timed

MATMUL = 2048


@dataclass(frozen=True)
class Timing:
    """One arm's figures.

    Attributes:
        ms: median milliseconds of a training step.
        ms_low: first quartile.
        ms_high: third quartile.
        images_per_second: at the median.
        epoch_seconds: for MNIST's 60,000 images.
        eval_images_per_second: forward passes without gradients.
        tflops: of the step, counted as three times the forward pass's multiplications and additions.
        roofline: that over the rate of a plain matrix product in the same precision, measured in the same rounds.
    """

    arm: str
    ms: float
    ms_low: float
    ms_high: float
    images_per_second: float
    epoch_seconds: float
    eval_images_per_second: float
    tflops: float
    roofline: float
    parameters: int
    macs: int
    compile_seconds: float | None
    peak_memory_mb: float | None = None

    def values(self) -> dict[str, Any]:
        """Plain values with few digits."""
        return {n: float(f"{v:.4g}") if isinstance(v, float) else v for n, v in asdict(self).items()}


def measure(arms: Sequence[Arm], batch: int, device: torch.device, *, rounds: int, steps: int) -> list[Timing]:
    """Time all arms in turn.

    Args:
        arms: what to time; the first steps of each warm it up and are not counted.
        batch: images per step.
        device: waited for around every step.
        rounds: how often every arm gets its turn.
        steps: timed steps in a turn.
    """
    training: dict[str, list[float]] = {arm.name: [] for arm in arms}
    evaluation: dict[str, list[float]] = {arm.name: [] for arm in arms}
    products: list[float] = []
    product = matrix_product(device)
    for arm in arms:
        arm.turn(2)
        timed(arm.evaluate, device, 1)
    timed(product, device, 2)
    for _ in range(rounds):
        for arm in arms:
            # One step to bring this arm's data back into the caches that the arm before has filled.
            arm.turn(1)
            training[arm.name] += arm.turn(steps)
            evaluation[arm.name] += timed(arm.evaluate, device, steps)
        products += timed(product, device, steps)
    peak = 2 * MATMUL**3 / median(products)
    return [_timing(arm, batch, training[arm.name], evaluation[arm.name], peak) for arm in arms]


def matrix_product(device: torch.device) -> Callable[[], None]:
    """A square matrix product in the precision that training uses where it can: bf16."""
    left = torch.randn(MATMUL, MATMUL, device=device).bfloat16()
    right = torch.randn(MATMUL, MATMUL, device=device).bfloat16()

    def product() -> None:
        torch.mm(left, right)

    return product


def _timing(arm: Arm, batch: int, training: list[float], evaluation: list[float], peak: float) -> Timing:
    middle = median(training)
    low, _, high = quantiles(training, n=4) if len(training) > 1 else (middle, middle, middle)
    rate = 6 * arm.macs * batch / middle
    return Timing(
        arm=arm.name,
        ms=1000 * middle,
        ms_low=1000 * low,
        ms_high=1000 * high,
        images_per_second=batch / middle,
        epoch_seconds=60_000 * middle / batch,
        eval_images_per_second=batch / median(evaluation),
        tflops=rate / 1e12,
        roofline=rate / peak,
        parameters=arm.parameters,
        macs=arm.macs,
        compile_seconds=arm.compile_seconds,
    )
