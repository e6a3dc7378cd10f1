"""Promise: a process can carry out run after run without growing; `scripts/measure_growth.py` measures hundreds."""

import ctypes
import os

import pytest
import torch

from growth import Sample, after_each_run, slope

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or later"),
]
WARM = 10
# A checkpoint of this network is 0.3 MB, its images 0.1 MB, its configuration a few hundred objects: whatever of it
# is kept once a run shows. Nothing kept measures 0.0005 MB and about ten objects.
MEGABYTES, OBJECTS = 0.05, 200


def grows(samples: list[Sample]) -> list[str]:
    """What of this process grows from run to run."""
    found = [
        (slope(samples, "megabytes") > MEGABYTES, "megabytes"),
        (slope(samples, "objects") > OBJECTS, "objects"),
        (len({sample.handles for sample in samples}) > 1, "handles"),
        # Heartbeats of runs that have just ended may be about to end, too; a thread kept by each run would be twenty.
        (max(sample.threads for sample in samples) > 4, "threads"),
    ]
    return [name for growing, name in found if growing]


def test_runs_leave_no_handle_no_thread_and_no_memory_behind(root):
    samples = list(after_each_run(root, 30))[WARM:]
    assert grows(samples) == [], samples


@pytest.mark.parametrize(
    ("leak", "seen"),
    [
        (lambda: torch.zeros(25_000), ["megabytes"]),
        (lambda: [[number] for number in range(500)], ["objects"]),
        (lambda: os.open("/dev/null", os.O_RDONLY), ["handles"]),
    ],
    ids=["0.1 MB", "500 lists", "a file"],
)
def test_a_leak_is_seen(root, leak, seen):
    kept = []

    def samples():
        for sample in after_each_run(root, 14):
            kept.append(leak())
            yield sample

    try:
        assert grows(list(samples())[4:]) == seen
    finally:
        for thing in kept:
            if isinstance(thing, int):
                os.close(thing)
