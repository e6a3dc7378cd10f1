"""The promise that a default run never touches the network, seen from the operating system."""

import os
import shutil
import subprocess
import sys

import pytest

from capsbench.training.wandb_file import read_run
from training.tracked import run_path

PROGRAM = """
import socket, sys
from pathlib import Path
from training.tracked import pictures, track
tracker = track(Path(sys.argv[1]))
tracker.log({"train/loss": 1.0}, 1)
tracker.log_pictures("reconstructions", pictures(2), ["a", "b"], 2)
tracker.log_summary({"test/errors": 61})
tracker.finish(0)
print(tracker.file)
# Proof that whoever watches sees connections.
socket.socket().connect_ex(("127.0.0.1", 9))
"""


def strace_works() -> bool:
    if not shutil.which("strace"):
        return False
    command = ["strace", "--follow-forks", "--seccomp-bpf", "--output", os.devnull, "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not strace_works(), reason="needs strace, and leave to trace")
def test_a_default_run_makes_no_connection_from_start_to_exit(wandb_home, tmp_path, monkeypatch):
    """Not even for a user who is logged in and has WANDB_MODE=online: only `logger.wandb=online` opens the network."""
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    trace = tmp_path / "connections"
    watch = ["strace", "--follow-forks", "--seccomp-bpf", "--trace=connect,sendto", f"--output={trace}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*watch, sys.executable, "-c", PROGRAM, str(run_path(tmp_path))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    calls = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert len(calls) == 1, calls
    assert 'sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")' in calls[0]
    run = read_run(tmp_path / done.stdout.strip())
    assert ([row["_step"] for row in run.history], run.exit_code) == ([1, 2], 0)
