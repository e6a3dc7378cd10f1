"""Many short runs one after the other in this process, and what of it they leave behind."""

import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from capsbench.training import train
from tiny import tiny_config, tiny_splits


@dataclass(frozen=True)
class Sample:
    """This process after a run."""

    run: int
    megabytes: float
    handles: int
    threads: int


def after_each_run(root: Path, count: int) -> Iterator[Sample]:
    """Train `count` runs of two steps with evaluation, and look at this process after each."""
    process, real = psutil.Process(), train.load_splits
    train.load_splits = lambda _: tiny_splits()
    try:
        for run in range(count):
            with warnings.catch_warnings():
                train.run(tiny_config(root, f"seed={run}", "trainer.steps=2"))
            yield Sample(run, process.memory_info().rss / 2**20, process.num_fds(), threading.active_count())
    finally:
        train.load_splits = real


def slope(samples: list[Sample]) -> float:
    """Megabytes a run: median of all slopes between a sample of the first and one of the second half (Theil-Sen)."""
    half = len(samples) // 2
    pairs = [(one, two) for one in samples[:half] for two in samples[half:]]
    return median((two.megabytes - one.megabytes) / (two.run - one.run) for one, two in pairs)
