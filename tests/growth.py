"""Many short runs one after the other in this process, and what of it they leave behind.

The process's size says little about that: the C library keeps freed memory for the next tensor (on purpose, see
`environment.keep_freed_memory`), and takes it in steps. So what is in use is counted where it is handed out: by the
C library for tensors, arrays and all large objects, and by Python for its small ones.
"""

import ctypes
import gc
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from capsbench.training import train
from tiny import tiny_config, tiny_splits

# Fields of glibc's `struct mallinfo2`, from <malloc.h>; all of type size_t.
MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class Mallinfo(ctypes.Structure):
    """What glibc has handed out: `uordblks` bytes of its arenas, `hblkhd` bytes mapped one by one."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO)


@dataclass(frozen=True)
class Sample:
    """This process after a run.

    Attributes:
        run: number of the run.
        megabytes: what is in use of the C library's memory.
        objects: Python's small objects in use (at most 512 bytes each), which have memory of their own.
        handles: open file handles.
        threads: living threads of Python.
        resident: megabytes that the process takes up, with what is kept for later.
    """

    run: int
    megabytes: float
    objects: int
    handles: int
    threads: int
    resident: float


def megabytes_in_use() -> float:
    """What the program holds of the C library's memory (glibc 2.33 or later): neither freed nor kept for later."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo
    found = mallinfo2()
    return float(found.uordblks + found.hblkhd) / 2**20


def sample(run: int) -> Sample:
    """Look at this process, without what is garbage already."""
    process = psutil.Process()
    gc.collect()
    return Sample(
        run,
        megabytes_in_use(),
        sys.getallocatedblocks(),
        process.num_fds(),
        threading.active_count(),
        process.memory_info().rss / 2**20,
    )


def after_each_run(root: Path, count: int) -> Iterator[Sample]:
    """Train `count` runs of two steps with evaluation, and look at this process after each."""
    real = train.load_splits
    train.load_splits = lambda _: tiny_splits()
    try:
        for run in range(count):
            with warnings.catch_warnings():
                train.run(tiny_config(root, f"seed={run}", "trainer.steps=2"))
            yield sample(run)
    finally:
        train.load_splits = real


def slope(samples: list[Sample], what: str) -> float:
    """Growth a run: median of all slopes between a sample of the first and one of the second half (Theil-Sen)."""
    half = len(samples) // 2
    pairs = [(one, two) for one in samples[:half] for two in samples[half:]]
    return median((getattr(two, what) - getattr(one, what)) / (two.run - one.run) for one, two in pairs)
