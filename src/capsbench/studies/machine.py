"""How the workers of one machine share it."""

import os
from pathlib import Path


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """GPUs that a program started here would see, without asking CUDA (which would keep them from being forked)."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() and gpu.strip() != "-1"]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def share(workers: int, devices: int, gpus: list[str]) -> tuple[int | None, tuple[str, ...]]:
    """Threads of a run and GPUs of each worker, for several workers on this machine.

    Args:
        workers: number of workers.
        devices: devices that one run asks for.
        gpus: what `visible_gpus` found.

    Returns:
        Threads (None: as the run likes) and one CUDA_VISIBLE_DEVICES per worker, used again from the start where there
        are more workers than GPUs; empty without GPUs.
    """
    if len(gpus) >= devices:
        sets = [gpus[first : first + devices] for first in range(0, len(gpus) - devices + 1, devices)]
        return None, tuple(",".join(part) for part in sets)
    return (max(1, cores() // workers), ()) if workers > 1 else (None, ())
