"""Promise: a run on two processes that is killed in the middle of an epoch goes on to its very bits."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tiny import assert_same_run

pytestmark = pytest.mark.slow
RUN = [
    "train", "model=cnn_small", "model.dropout=0.3", "data=mnist_small", "data.train_images=400",
    "data.validation_images=203", "logger=csv", "evaluation=minimal", "trainer.batch_size=20",
    "trainer.epochs=3", "trainer.log_every=1", "trainer.compile=false", "trainer.threads=1",
    "trainer.precision=32-true", "trainer.accelerator=cpu", "trainer.progress=false",
    "trainer.checkpoint_minutes=1e-9", "run.group=g",
]  # fmt: skip
COMMAND = [sys.executable, "-m", "capsbench"]


def start(root: Path, devices: int) -> "subprocess.Popen[str]":
    words = [*COMMAND, *RUN, f"run.root={root}", f"trainer.devices={devices}"]
    return subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: "subprocess.Popen[str]") -> None:
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said


def folder_in(root: Path) -> Path:
    (path,) = root.glob("g/*/seed00")
    return path


def steps_done(root: Path) -> int:
    for path in root.glob("g/*/seed00/last.ckpt"):
        return int(torch.load(path, weights_only=True, mmap=True)["global_step"])
    return 0


def kill_after(root: Path, process: "subprocess.Popen[str]", step: int) -> None:
    """SIGKILL for the first process once it has kept that many steps; the other one must not outlive it."""
    deadline = time.monotonic() + 150
    while steps_done(root) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    others = psutil.Process(process.pid).children(recursive=True)
    assert len(others) >= 1
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(others, timeout=15)
    assert not alive


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    end(start(root, 2))
    return folder_in(root)


def test_goes_on_after_a_kill_in_the_middle_of_an_epoch(whole, tmp_path):
    """The number of devices belongs to a run's identity: one with another number is another run."""
    kill_after(tmp_path, start(tmp_path, 2), 27)
    assert steps_done(tmp_path) < 60
    end(start(tmp_path, 2))
    folder = folder_in(tmp_path)
    assert "going on from step" in (folder / "train.log").read_text()
    rows = read(folder / "metrics.csv")
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 61)]
    assert_same_run(folder, whole)
