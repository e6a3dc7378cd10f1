"""Train hundreds of tiny runs in one process and measure what that leaves of memory, file handles and threads.

    python scripts/measure_growth.py [RUNS] [--minutes 5] [--out results]

Growth is the Theil-Sen slope over all runs after the first ten, of memory in use (see tests/growth.py) and of what the
process takes up. After so many minutes it makes do with the runs it has.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

WARM = 10
SLOPES = ("megabytes", "objects", "resident")


def measure(runs: int, minutes: float) -> dict[str, Any]:
    """Train and look."""
    from growth import after_each_run, slope

    begun, samples = time.monotonic(), []
    with tempfile.TemporaryDirectory() as root:
        for sample in after_each_run(Path(root), runs):
            samples.append(sample)
            if sample.run % 50 == 0:
                print(sample, file=sys.stderr, flush=True)
            if time.monotonic() - begun > 60 * minutes:
                break
    settled = samples[min(WARM, len(samples) - 4) :]
    return {
        "runs": len(samples),
        "seconds": round(time.monotonic() - begun, 1),
        "samples": [asdict(sample) for sample in (settled[0], settled[len(settled) // 2], settled[-1])],
        "growth_per_run": {what: round(slope(settled, what), 5) for what in SLOPES},
    }


def main() -> None:
    """Measure and keep."""
    from capsbench.bench.figures import Figures

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--out", type=Path, help="folder that keeps the figures, usually results")
    arguments = parser.parse_args()
    figures = Figures("growth")
    figures.keep(measure(arguments.runs, arguments.minutes), arguments.out)


if __name__ == "__main__":
    main()
