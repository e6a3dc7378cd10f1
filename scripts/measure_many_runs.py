"""Time the commands that read many run folders, on folders that the tests' fake runs fill.

    python scripts/measure_many_runs.py [RUNS] [--keep FOLDER] [--commands status sweep report] [--out results]

Seconds and peak memory of each command. The runs are finished ones of a real sweep file (20 arms), with 1,000 test
images each; what is timed is the command line itself, from its start to its end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
ARMS = 20
COMMANDS = {
    "status": ["status", "many.yaml"],
    "sweep": ["sweep", "many.yaml", "--no-report"],
    "dry-run": ["sweep", "many.yaml", "--dry-run"],
    "report": ["report", "many.yaml"],
    "results": ["results", "many"],
    "sync": ["sync", "many", "--dry-run"],
}


def fabricate(folder: Path, runs: int) -> None:
    """Write the sweep file and its finished runs."""
    from capsbench.studies.plan import arm_hashes, plan
    from capsbench.sweep_file import load_sweep
    from capsbench.training.identity import evaluation_digest
    from report.fake_runs import Truth, arm_difficulty, write_run

    arms = "".join(
        f"  arm{arm:02d}: {{overrides: [model=cnn_small, optimizer.lr={0.001 * (1 + arm):.4f}]}}\n"
        for arm in range(ARMS)
    )
    (folder / "many.yaml").write_text(f"kind: ablation\nseeds: {list(range(runs // ARMS))}\narms:\n{arms}")
    os.chdir(folder)
    sweep = load_sweep("many.yaml", ROOT / "sweeps")
    planned = plan(sweep)
    hashes, truth = arm_hashes(planned), Truth(capsules=False)
    difficulty = {arm: arm_difficulty(arm, truth, 1000) for arm in sweep.arms}
    digests = {run.arm: evaluation_digest(run.cfg) for run in planned[: len(sweep.arms)]}
    for run in planned:
        path = write_run(Path("runs"), sweep, run.arm, run.seed, truth, difficulty[run.arm], digits=hashes[run.arm])
        result = json.loads((path / "result.json").read_text())
        result["evaluation"] = digests[run.arm]
        (path / "result.json").write_text(json.dumps(result))


def measure(words: list[str], folder: Path) -> dict[str, float | str]:
    """Seconds and megabytes of one command."""
    command = [sys.executable, "-m", "capsbench", *words]
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        _, status, used = os.wait4(child.pid, 0)  # of this child alone
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
        "status": child.returncode,
        "said": lines[-1][:120] if lines else "",
    }


def main() -> None:
    """Fabricate, time, keep."""
    from capsbench.bench.figures import Figures

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="make the folders here and keep them, or use those that are here")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--out", type=Path, help="folder that keeps the figures, usually results")
    arguments = parser.parse_args()
    out = arguments.out and arguments.out.absolute()  # making the runs changes the folder
    figures = Figures("many_runs")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "many.yaml").exists():
            fabricate(folder, arguments.runs)
        found = {name: measure(COMMANDS[name], folder) for name in arguments.commands}
    figures.keep({"runs": arguments.runs, **found}, out)


if __name__ == "__main__":
    main()
