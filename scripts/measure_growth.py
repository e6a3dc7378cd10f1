"""Train hundreds of tiny runs in one process and print what that leaves of memory, file handles and threads.

    python scripts/measure_growth.py [RUNS]

One line of JSON at the end: the process after 10 runs, in the middle and at the end, and its growth in MB per run
(Theil-Sen slope over all runs after the first ten).
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    """Train, look, print."""
    from growth import after_each_run, slope

    runs = int(sys.argv[1]) if sys.argv[1:] else 500
    samples = []
    with tempfile.TemporaryDirectory() as root:
        for sample in after_each_run(Path(root), runs):
            samples.append(sample)
            if sample.run % 50 == 0:
                print(sample, file=sys.stderr, flush=True)
    shown = [asdict(samples[position]) for position in (min(10, runs - 1), runs // 2, -1)]
    print(json.dumps({"runs": runs, "samples": shown, "mb_per_run": round(slope(samples[10:]), 4)}))


if __name__ == "__main__":
    main()
