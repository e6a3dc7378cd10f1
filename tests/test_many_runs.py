"""Promise: a process can carry out run after run without growing; `scripts/measure_growth.py` measures hundreds."""

import pytest

from growth import after_each_run, slope

pytestmark = pytest.mark.slow
WARM = 10


def test_runs_leave_no_handle_no_thread_and_no_memory_behind(root):
    samples = list(after_each_run(root, 30))[WARM:]
    assert len({sample.handles for sample in samples}) == 1
    # Heartbeats of runs that have just ended may be about to end, too; a thread kept by each run would be twenty.
    assert max(sample.threads for sample in samples) < 5
    # A checkpoint of this network is 0.3 MB and its images 0.1 MB: what is kept once a run would show.
    assert slope(samples) < 0.3
