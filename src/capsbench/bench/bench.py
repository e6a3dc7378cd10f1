"""`capsbench bench`: how fast a training step is here, against what, and where the figures are kept."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from capsbench.bench.apart import build_apart
from capsbench.bench.arms import Arm, bench_machine, build_arm
from capsbench.bench.measure import Timing, measure
from capsbench.bench.memory import peak_memory
from capsbench.config_models import RoutingAlgorithm
from capsbench.environment import keep_freed_memory
from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.training.provenance import hardware_slug, now, provenance

# Ports leave the C library's memory as they find it.
APART = {"naive"}
PLENTY = 1000
NAME = re.compile(r"[\w-]+", re.ASCII)


def expand(names: Sequence[str]) -> list[str]:
    """Arm names with `routing` written out as one arm for every routing algorithm, each once and in order."""
    every = [f"model.routing.algorithm={algorithm}" for algorithm in RoutingAlgorithm]
    written = [arm for name in names for arm in (every if name == "routing" else [name])]
    return list(dict.fromkeys(written))


def bench(
    names: Sequence[str], overrides: Sequence[str], *, batch: int, rounds: int, steps: int, memory: bool
) -> dict[str, Any]:
    """Time arms side by side in one process.

    Args:
        names: arms as `build_arm` knows them; the others are compared with the first.
        overrides: configuration shared by all arms.
        batch: images per step.
        rounds: how often every arm gets its turn.
        steps: timed steps in a turn.
        memory: also measure each arm's peak memory, in a process of its own.

    Returns:
        Timings, ratios to the first arm, and where and how they were measured.
    """
    machine = bench_machine(overrides)
    keep_freed_memory()
    # All arms compile the same few functions; past its limit PyTorch would run the others eagerly.
    with torch._dynamo.config.patch(recompile_limit=PLENTY, accumulated_recompile_limit=PLENTY):
        arms: list[Arm] = [
            build_apart(name, overrides, batch) if name in APART else build_arm(name, overrides, batch, machine)
            for name in names
        ]
        timings = measure(arms, batch, machine.device, rounds=rounds, steps=steps)
    rows = [timing.values() for timing in timings]
    if memory:
        for row in rows:
            row["peak_memory_mb"] = round(peak_memory(row["arm"], overrides, batch), 1)
    return {
        "batch": batch,
        "precision": machine.precision,
        "device": machine.accelerator,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "steps": steps,
        "arms": rows,
        "speed_over": {first: ratios(timings, first) for first in names},
        "provenance": {**provenance(), "finished": now()},
    }


def ratios(timings: Sequence[Timing], first: str) -> dict[str, float]:
    """How many times as fast each arm is as the named one, by median step time."""
    base = next(timing.ms for timing in timings if timing.arm == first)
    return {timing.arm: float(f"{base / timing.ms:.3g}") for timing in timings}


def table(result: dict[str, Any]) -> str:
    """The figures as text."""
    head = f"batch {result['batch']}, {result['precision']}, {result['device']}, {result['threads']} threads, "
    head += f"{result['rounds']} rounds of {result['steps']} steps, interleaved"
    origin = result["provenance"]
    lines = [head, f"{origin['gpu'] or origin['cpu']}, torch {origin['packages']['torch']}", ""]
    columns = (
        "arm",
        "ms/step",
        "quartiles",
        "images/s",
        "s/epoch",
        "eval/s",
        "roofline",
        "peak MB",
        "compile s",
        "speed",
    )
    first = result["arms"][0]["arm"]
    rows = [columns]
    for arm in result["arms"]:
        memory, seconds = arm["peak_memory_mb"], arm["compile_seconds"]
        rows.append(
            (
                arm["arm"],
                f"{arm['ms']:.1f}",
                f"{arm['ms_low']:.1f}-{arm['ms_high']:.1f}",
                f"{arm['images_per_second']:.0f}",
                f"{arm['epoch_seconds']:.0f}",
                f"{arm['eval_images_per_second']:.0f}",
                f"{arm['roofline']:.0%}",
                "" if memory is None else f"{memory:.0f}",
                "" if seconds is None else f"{seconds:.0f}",
                f"{result['speed_over'][first][arm['arm']]:.2f}x",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines += [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    counts = {
        f"{arm['arm']}: {arm['parameters']:,} parameters, {arm['macs'] / 1e6:,.0f} M MACs" for arm in result["arms"]
    }
    return "\n".join([*lines, "", *sorted(counts)])


def check_name(name: str | None) -> None:
    """Refuse a name that is none for a file, before anything is measured.

    Raises:
        CapsbenchError: says what a name may have.
    """
    if name is not None and not NAME.fullmatch(name):
        raise CapsbenchError(f"--name {name!r}: a name has letters, digits, - and _ only")


def keep(result: dict[str, Any], folder: Path, name: str | None = None) -> Path:
    """Write the figures to `bench-<hardware>-torch<version>.json`, or with a name of their own before `.json`.

    Raises:
        CapsbenchError: the name is none for a file.
    """
    check_name(name)
    origin = result["provenance"]
    own = f"-{name}" if name is not None else ""
    path = folder / f"bench-{hardware_slug(origin)}-torch{origin['packages']['torch'].split('+')[0]}{own}.json"
    write_atomic(path, json.dumps({"name": name, **result}, indent=1) + "\n")
    return path
