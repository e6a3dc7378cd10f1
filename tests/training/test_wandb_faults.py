"""Promise: whatever the W&B server, client or disk does, training goes on, one line says so, every row arrives once."""

import logging
import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import psutil
import pytest

from capsbench.training.sync import sync_runs
from capsbench.training.sync_report import Upload
from capsbench.training.wandb_file import read_run
from small_disk import MEGABYTE, mounted, needs_small_disk
from training.tracked import loss, run_path, track, write_config, write_metrics, write_result

STEPS = range(1, 31)
FILLING = """
import logging, sys
from pathlib import Path
from small_disk import fill
from training.tracked import loss, track, write_config, write_metrics, write_result
logging.basicConfig(format="%(message)s", level=logging.WARNING)
folder, full_at = Path(sys.argv[1]), int(sys.argv[2])
from capsbench.config import Config
from capsbench.training.tracking import start_tracking
from training.tracked import RESOLVED, RUN
if full_at == 0:
    fill(folder / "wandb")
tracker = start_tracking(folder, Config(), RUN, RESOLVED, False)
for step in range(1, 3001):
    if step == full_at:
        fill(folder / "wandb")
    if tracker is not None:
        tracker.log({"train/loss": loss(step)}, step)
if tracker is not None:
    tracker.finish(0)
"""


def warnings_in(caplog) -> list[str]:
    ours = [record for record in caplog.records if record.name.startswith("capsbench")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def assert_arrived(server, run_id: str, steps) -> None:
    """Every row is there, once."""
    rows = server.run(run_id).history()
    assert [(row["_step"], row["train/loss"]) for row in rows] == [(step, loss(step)) for step in steps]


@pytest.mark.parametrize("fault", [401, 500, "drop", "hang"])
def test_a_server_that_fails_in_the_middle_gets_every_row_later(wandb_server, tmp_path, caplog, fault):
    folder = run_path(tmp_path)
    tracker = track(folder, "online")
    for step in STEPS:
        if step == 10:
            wandb_server.faults["/files/"] = fault
        tracker.log({"train/loss": loss(step)}, step)
    tracker.finish(0)
    write_metrics(folder, STEPS)
    write_result(folder)
    assert len(warnings_in(caplog)) <= 1
    assert len(read_run(tracker.file).history) == len(STEPS)
    wandb_server.faults.clear()
    assert sync_runs(tmp_path, None).runs[0].upload in (Upload.uploaded, Upload.present)
    assert_arrived(wandb_server, tracker.run_id, STEPS)
    assert [run.upload for run in sync_runs(tmp_path, None).runs] == [Upload.present]
    assert_arrived(wandb_server, tracker.run_id, STEPS)


def test_a_black_hole_is_given_up_after_seconds(wandb_server, tmp_path, monkeypatch, caplog):
    """A host that answers no packet: a socket whose queue is full never takes a connection."""
    with socket.socket() as hole, ExitStack() as queue:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{hole.getsockname()[1]}")
        tracker = track(run_path(tmp_path), "online")
        tracker.log({"train/loss": loss(1)}, 1)
        tracker.finish(0)
    (warning,) = warnings_in(caplog)
    assert "timed out" in warning
    assert "tracked offline" in warning
    assert len(read_run(tracker.file).history) == 1


@pytest.mark.slow
def test_a_server_that_takes_connections_and_never_answers_means_offline(wandb_server, tmp_path, monkeypatch, caplog):
    """Here the client's own patience runs out: twice five seconds, and the time limit of its start."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        tracker = track(run_path(tmp_path), "online")
        tracker.log({"train/loss": loss(1)}, 1)
        tracker.finish(0)
    (warning,) = warnings_in(caplog)
    assert "tracked offline" in warning
    assert len(read_run(tracker.file).history) == 1


def test_rows_that_a_killed_client_had_not_written_arrive_later(wandb_server, tmp_path, caplog):
    folder = run_path(tmp_path)
    tracker = track(folder)
    for step in STEPS:
        tracker.log({"train/loss": loss(step)}, step)
        if step == 10:
            for child in psutil.Process().children(recursive=True):
                if child.name().startswith("wandb-core"):
                    child.kill()
    tracker.finish(0)
    (warning,) = warnings_in(caplog)
    assert "`capsbench sync` uploads the run later" in warning
    write_config(folder)
    write_metrics(folder, STEPS)
    write_result(folder)
    assert [run.upload for run in sync_runs(tmp_path, None).runs] == [Upload.uploaded]
    assert_arrived(wandb_server, tracker.run_id, STEPS)


@needs_small_disk
@pytest.mark.parametrize("full_at", [0, 1500], ids=["before the start", "in the middle"])
def test_a_full_disk_costs_one_line_and_every_row_arrives_later(wandb_server, tmp_path, full_at):
    """Only W&B's own folder is on the disk that is full; metrics.csv has all rows."""
    folder = run_path(tmp_path)
    with mounted(folder / "wandb", MEGABYTE) as disk:
        done = subprocess.run(
            [sys.executable, "-c", FILLING, str(folder), str(full_at)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (warning,) = done.stderr.splitlines()
        assert "W&B" in warning
        (disk / "ballast").unlink()
        write_config(folder)
        write_metrics(folder, range(1, 3001))
        write_result(folder)
        assert [run.upload for run in sync_runs(tmp_path, None).runs] == [Upload.uploaded]
        (remote,) = wandb_server.backend.runs
        assert_arrived(wandb_server, remote[2], range(1, 3001))
        assert [run.upload for run in sync_runs(tmp_path, None).runs] == [Upload.present]
        assert_arrived(wandb_server, remote[2], range(1, 3001))
        assert wandb_server.run(remote[2]).group == "quick"
        assert wandb_server.run(remote[2]).config["storage"]["value"] == "postgresql://***@db/optuna"
        assert wandb_server.run(remote[2]).summary["test/errors"] == 61
