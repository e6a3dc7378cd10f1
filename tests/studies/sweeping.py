"""Starting real sweeps of fake runs, as a user would, in a folder of their own."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

PYTHONPATH = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
ABLATION = """
kind: ablation
seeds: [0, 1, 2]
arms:
  a: {overrides: [model=cnn_small]}
  b: {overrides: [model=cnn_small, optimizer.lr=0.002]}
"""
SEARCH = """
kind: search
base: [model=cnn_small]
params:
  optimizer.lr: tag(log, interval(1e-4, 1e-1))
  optimizer.decay: interval(0.5, 1.0)
sampler: {name: tpe, seed: 3, n_startup_trials: 4}
trials: 12
"""


class Folder:
    """A working folder with a sweep file, and the sweeps started in it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.environment: dict[str, str] = {}
        self.started: list[subprocess.Popen[str]] = []
        self.write(text)

    def write(self, text: str) -> None:
        """Replace the sweep file."""
        (self.path / "mine.yaml").write_text(text)

    def start(self, orders: str = "seconds=0.01", *arguments: str) -> "subprocess.Popen[str]":
        """`capsbench sweep mine.yaml` with instructions for the fake runs."""
        words = ["sweep", "mine.yaml", "--no-report", "hydra.sweeper.program=studies.fake_program"]
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from capsbench.cli import main; main()",
                *words,
                f"run.notes='{orders}'",
                *arguments,
            ],
            cwd=self.path,
            env=os.environ | self.environment | {"PYTHONPATH": PYTHONPATH},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(child)
        return child

    def run(self, orders: str = "seconds=0.01", *arguments: str, status: int | None = 0, seconds: float = 60) -> str:
        """The same to its end; returns what it printed."""
        child = self.start(orders, *arguments)
        return self.end(child, status=status, seconds=seconds)

    def end(self, child: "subprocess.Popen[str]", *, status: int | None = 0, seconds: float = 60) -> str:
        """Wait for a sweep and check its exit status."""
        output, errors = child.communicate(timeout=seconds)
        assert status is None or child.returncode == status, f"{child.returncode}\n{output}\n{errors}"
        return output + errors

    def executions(self, what: str) -> Counter[str]:
        """How often each run started or ended."""
        try:
            lines = (self.path / "runs" / "executions").read_text().splitlines()
        except FileNotFoundError:
            return Counter()
        return Counter(line.rsplit(" ", 1)[0].removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} "))

    def pids(self) -> list[int]:
        """Process numbers of all runs so far."""
        return [int(line.rsplit(" ", 1)[1]) for line in (self.path / "runs" / "executions").read_text().splitlines()]

    def wait_for_held(self, number: int, seconds: float) -> None:
        """Wait until so many runs with the order `hold` have a checkpoint and stand still."""
        self.wait_for(lambda: len(list(self.path.glob("runs/mine/*/seed*/last.ckpt"))) >= number, seconds)

    def go(self) -> None:
        """Let runs with the order `hold` go on."""
        (self.path / "runs" / "go").touch()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 40) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """Everything alive that was started here, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def children(self, child: "subprocess.Popen[str]", words: str) -> list[psutil.Process]:
        """Descendants of a sweep with these words on their command line."""
        return [p for p in psutil.Process(child.pid).children(recursive=True) if words in " ".join(p.cmdline())]

    def kill(self, child: "subprocess.Popen[str]") -> None:
        """Kill the sweeper with no chance to tidy up."""
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=20)

    def close(self) -> None:
        """Leave nothing behind when a test fails."""
        for process in self.processes():
            process.kill()
        for child in self.started:
            child.communicate(timeout=20)
