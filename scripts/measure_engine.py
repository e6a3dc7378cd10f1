"""What the study engine itself costs: many runs that only sleep, through real workers and forked children.

    python scripts/measure_engine.py --runs 2000 --workers 1 --out results
    python scripts/measure_engine.py --runs 2000 --workers 2 --out results
    python scripts/measure_engine.py --runs 1000 --kind search --out results

A run's cost is the time from one start to the next on the same worker, less what the run itself slept. It is given for
the first and the last tenth of the runs too, which shows whether it grows with what is done. When the sweep has ended,
`capsbench status` is timed, and so are a start with nothing to do and one with a handful of runs more.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from capsbench.config import Config

SLEPT = 0.01
STARTS = "starts"
ARMS = 20
ABLATION = """
kind: ablation
seeds: {seeds}
base: [model=cnn_small]
arms:
{arms}
"""
SEARCH = """
kind: search
base: [model=cnn_small]
params:
  optimizer.lr: tag(log, interval(1e-4, 1e-1))
  optimizer.decay: interval(0.5, 1.0)
  model.dropout: interval(0.0, 0.5)
sampler: {sampler}
trials: {trials}
"""


def warm_up() -> None:
    """Be as large a process to fork from as that of real runs."""
    from capsbench.app import warm_up as import_training

    import_training()


def execute(cfg: Config) -> None:
    """A run that sleeps, with the claim and the result of a real one."""
    from capsbench.files import write_atomic
    from capsbench.training.identity import evaluation_digest
    from capsbench.training.runs import Claim, run_folder, run_record

    path = run_folder(cfg).path
    handle = os.open(Path(cfg.run.root) / STARTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{os.getppid()} {time.time()!r}\n".encode())
    os.close(handle)
    with Claim(path):
        time.sleep(SLEPT)
        loss = (cfg.optimizer.lr - 0.003) ** 2
        metrics = {"test/accuracy": 0.9, "test/errors": 1000, "val/loss": loss, "time/train_seconds": SLEPT,
                   "time/wall_seconds": SLEPT}  # fmt: skip
        result = {"schema": 1, "state": "done", "run": run_record(cfg), "metrics": metrics, "test_images": 10_000,
                  "evaluation": evaluation_digest(cfg)}  # fmt: skip
        write_atomic(path / "result.json", json.dumps(result))


def design(kind: str, runs: int, sampler: str) -> str:
    """A sweep file with so many runs."""
    if kind == "search":
        return SEARCH.format(trials=runs, sampler=sampler)
    lines = [f"  arm{n:02d}: {{overrides: [optimizer.lr={1e-3 * (1 + n)}]}}" for n in range(ARMS)]
    return ABLATION.format(seeds=list(range(-(-runs // ARMS))), arms="\n".join(lines))


def command(*words: str) -> list[str]:
    """`capsbench ...` of this interpreter."""
    return [sys.executable, "-m", "capsbench", *words]


def timed(words: list[str], folder: Path) -> dict[str, float]:
    """Seconds by the clock and of CPU that a command takes, its children's included."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[3:])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return {"wall": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def costs(folder: Path) -> list[tuple[float, float]]:
    """Start and cost in seconds of every run but each worker's last, in the order of their starts."""
    by_worker: dict[str, list[float]] = {}
    for line in (folder / "runs" / STARTS).read_text().splitlines():
        worker, at = line.split()
        by_worker.setdefault(worker, []).append(float(at))
    return sorted((a, b - a - SLEPT) for starts in by_worker.values() for a, b in pairwise(sorted(starts)))


def measure(kind: str, runs: int, workers: int, storage: str | None, sampler: str) -> dict[str, Any]:
    """Carry the runs out in a folder of their own, look at it from outside, and start again with a few more."""
    with tempfile.TemporaryDirectory(prefix="capsbench-engine-") as name:
        folder = Path(name)
        (folder / "mine.yaml").write_text(design(kind, runs, sampler))
        options = ["--workers", str(workers), *(["--storage", storage] if storage else [])]
        sweep = command("sweep", "mine.yaml", "--no-report", "hydra.sweeper.program=measure_engine", *options)
        status = command("status", "mine.yaml", *(["--storage", storage] if storage else []))
        whole = timed(sweep, folder)
        found = [cost for _, cost in costs(folder)]
        tenth = max(1, len(found) // 10)
        at_end = [timed(status, folder) for _ in range(3)]
        nothing = timed(sweep, folder)
        (folder / "mine.yaml").write_text(design(kind, runs + ARMS, sampler))
        (folder / "runs" / STARTS).rename(folder / "runs" / "earlier")
        begun = time.time()
        timed(sweep, folder)
        first = min(float(line.split()[1]) for line in (folder / "runs" / STARTS).read_text().splitlines())
        return {
            "kind": kind, "runs": runs, "workers": workers, "storage": (storage or "journal").split(":")[0],
            "sampler": sampler if kind == "search" else None, "slept_ms": 1000 * SLEPT,
            "cost_ms": {"median": 1000 * median(found), "mean": 1000 * mean(found),
                        "first_tenth": 1000 * median(found[:tenth]), "last_tenth": 1000 * median(found[-tenth:])},
            "cpu_ms_per_run": 1000 * whole["cpu"] / runs, "runs_per_second": runs / whole["wall"],
            "whole_seconds": whole["wall"], "status_seconds": min(look["wall"] for look in at_end),
            "status_cpu_seconds": min(look["cpu"] for look in at_end),
            "start_with_nothing_to_do_seconds": nothing["wall"],
            "second_start_to_first_run_seconds": first - begun,
            "bytes_per_run": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / runs,
        }  # fmt: skip


def main() -> None:
    """Measure and keep."""
    from capsbench.bench.figures import Figures

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kind", choices=["ablation", "search"], default="ablation")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--storage", help="instead of a journal file: postgresql+psycopg://USER@HOST/DATABASE")
    parser.add_argument("--out", type=Path, help="folder that keeps the figures, usually results")
    arguments = parser.parse_args()
    figures = Figures("engine")
    found = measure(arguments.kind, arguments.runs, arguments.workers, arguments.storage, arguments.sampler)
    figures.keep(found, arguments.out)


if __name__ == "__main__":
    main()
