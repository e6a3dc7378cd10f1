import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import wandb

from capsbench.config import Config, WandbMode
from capsbench.training.tracking import new_run_id, start_tracking
from capsbench.training.wandb_file import read_run
from capsbench.training.wandb_session import without_secrets
from training.tracked import RESOLVED, RUN, pictures, run_path, track, write_metrics


class Line(pl.LightningModule):
    """The smallest thing that Lightning trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(tracker, folder):
    data = torch.utils.data.DataLoader(torch.ones(12, 1), batch_size=1)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=[tracker.logger],
        log_every_n_steps=3,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Line(), data)


def warnings_in(caplog) -> list[str]:
    ours = [record for record in caplog.records if record.name.startswith("capsbench")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")
def test_an_offline_run_is_whole_on_disk_and_sends_nothing(wandb_server, tmp_path, caplog):
    folder = run_path(tmp_path)
    before = dict(os.environ)
    tracker = track(folder)
    fit(tracker, tmp_path)
    tracker.log_pictures("reconstructions", pictures(3), ["a 7", "a 2", "a 1"], 12)
    tracker.log_summary({"test/errors": 61, "test/accuracy": 0.9939})
    tracker.finish(0)
    assert os.environ == before

    run = read_run(tracker.file)
    assert tracker.file.is_relative_to(folder / "wandb")
    assert run.id == tracker.run_id
    assert run.id.startswith("quick-capsnet_r3-1a2b3c4d-s01-")
    assert (run.name, run.group, run.job_type, run.project) == ("capsnet_r3-s01", "quick", "train", "capsbench")
    assert {"capsnet_r3", "capsnet"} <= set(run.tags)
    assert run.config["model"] == RESOLVED["model"]
    assert (run.config["arm"], run.config["hash"]) == ("capsnet_r3", "1a2b3c4d")
    assert run.exit_code == 0
    assert run.metrics == ["trainer/global_step", "*"]
    assert [row["_step"] for row in run.history] == [2, 5, 8, 11, 12]
    assert all(row["trainer/global_step"] == row["_step"] for row in run.history)
    assert all(0 <= row["train/loss"] < math.inf for row in run.history[:-1])
    assert (run.summary["test/errors"], run.summary["test/accuracy"]) == (61, 0.9939)
    assert run.history[-1]["reconstructions.captions"] == ["a 7", "a 2", "a 1"]
    for name in run.history[-1]["reconstructions.filenames"]:
        assert (tracker.file.parent / "files" / name).read_bytes().startswith(b"\x89PNG")
    assert wandb_server.log == []
    assert warnings_in(caplog) == []


def test_no_secret_reaches_the_file(wandb_home, tmp_path):
    tracker = track(run_path(tmp_path))
    tracker.finish(0)
    config = read_run(tracker.file).config
    assert config["storage"] == "postgresql://***@db/optuna"
    assert config["api_key"] == "***"
    assert b"hunter2" not in tracker.file.read_bytes()
    assert without_secrets({"a": [{"db_password": "x"}], "token": None}) == {
        "a": [{"db_password": "***"}],
        "token": None,
    }


def test_metrics_of_one_step_make_one_row_and_no_step_is_lost(wandb_home, tmp_path):
    tracker = track(run_path(tmp_path))
    tracker.log({"train/loss": 0.5}, 10)
    tracker.log({"val/loss": 0.4}, 10)
    tracker.log({"late": 1.0}, 4)
    tracker.log({"train/loss": 0.3}, 20)
    tracker.finish(0)
    rows = {row["_step"]: row for row in read_run(tracker.file).history}
    assert set(rows) == {10, 20}
    assert (rows[10]["train/loss"], rows[10]["val/loss"], rows[10]["late"]) == (0.5, 0.4, 1.0)


def test_a_picture_of_the_wrong_kind_costs_only_itself(wandb_home, tmp_path, caplog):
    tracker = track(run_path(tmp_path))
    tracker.log_pictures("reconstructions", pictures(3) / 255, ["a", "b", "c"], 1)
    tracker.log_pictures("reconstructions", torch.from_numpy(pictures(2)), ["a", "b"], 2)
    tracker.finish(0)
    assert [row["_step"] for row in read_run(tracker.file).history] == [2]
    (warning,) = warnings_in(caplog)
    assert "float64 (3, 1, 28, 28)" in warning


def test_a_resumed_run_keeps_its_id_and_a_fresh_one_does_not(wandb_home, tmp_path):
    folder = run_path(tmp_path)
    ids = []
    for resumed in (False, True, True, False, True):
        tracker = track(folder, resumed=resumed)
        tracker.finish(0)
        ids.append(tracker.run_id)
    assert ids[0] == ids[1] == ids[2] != ids[3] == ids[4]


def test_run_ids_are_legal_however_long_the_names():
    run_id = new_run_id({"group": "a/b:c#" * 30, "id": "x" * 100})
    assert len(run_id) <= 128
    assert not set(run_id) & set("/\\#?%:")


def test_disabled_means_none(wandb_home, tmp_path, monkeypatch):
    cfg = Config()
    cfg.logger.wandb = WandbMode.disabled
    assert start_tracking(tmp_path, cfg, RUN, RESOLVED, False) is None
    cfg.logger.wandb = WandbMode.offline
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert start_tracking(tmp_path, cfg, RUN, RESOLVED, False) is None
    assert not (tmp_path / "wandb").exists()


def test_only_the_first_process_of_a_distributed_run_opens_a_run(wandb_home, tmp_path, monkeypatch):
    from pytorch_lightning.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert start_tracking(tmp_path, Config(), RUN, RESOLVED, False) is None
    assert not (tmp_path / "wandb").exists()


def test_without_wandb_training_goes_on_with_one_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert start_tracking(tmp_path, Config(), RUN, RESOLVED, False) is None
    (warning,) = warnings_in(caplog)
    assert "wandb is not installed" in warning


def test_nothing_heavy_is_imported_before_a_run_is_tracked():
    program = """
import sys
import capsbench.training.sync, capsbench.training.tracking
assert not {"wandb", "torch", "pytorch_lightning", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_dead_client_costs_one_warning_and_the_next_run_works(wandb_home, tmp_path):
    program = """
import logging, os, signal, sys
from pathlib import Path
import psutil
from training.tracked import pictures, run_path, track
logging.basicConfig(format="%(message)s", level=logging.WARNING)
root = Path(sys.argv[1])
tracker = track(run_path(root))
tracker.log({"train/loss": 1.0}, 1)
for child in psutil.Process().children(recursive=True):
    if child.name().startswith("wandb-core"):
        os.kill(child.pid, signal.SIGKILL)
for step in range(2, 200):
    tracker.log({"train/loss": 1.0}, step)
tracker.log_pictures("reconstructions", pictures(1), ["a"], 200)
tracker.log_summary({"test/errors": 1})
tracker.finish(0)
later = track(run_path(root, seed=2), seed=2)
later.log({"train/loss": 1.0}, 1)
later.finish(0)
print(later.file)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert "`capsbench sync` uploads the run later" in warning
    run = read_run(Path(done.stdout.strip()))
    assert ([row["_step"] for row in run.history], run.exit_code) == ([1], 0)


def test_a_file_that_lost_rows_is_noticed(wandb_home, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("capsbench.training.tracking.VERIFY_SECONDS", 0.2)
    tracker = track(run_path(tmp_path))
    tracker.log({"train/loss": 1.0}, 1)
    tracker.rows += 1
    tracker.finish(0)
    (warning,) = warnings_in(caplog)
    assert "has 1 of 2 rows" in warning


def test_online_runs_reach_the_server(wandb_server, tmp_path):
    tracker = track(run_path(tmp_path), "online")
    for step in (10, 20):
        tracker.log({"train/loss": 1 / step}, step)
    tracker.log_pictures("reconstructions", pictures(2), ["a", "b"], 20)
    tracker.log_summary({"test/errors": 61})
    tracker.finish(0)
    remote = wandb_server.run(tracker.run_id)
    assert [(row["_step"], row["train/loss"]) for row in remote.history()] == [(10, 0.1), (20, 0.05)]
    assert (remote.group, remote.job_type, remote.display_name, remote.state) == (
        "quick",
        "train",
        "capsnet_r3-s01",
        "finished",
    )
    assert remote.summary["test/errors"] == 61
    assert remote.config["model"]["value"]["routing"] == {"iterations": 3}
    assert sum("media/images/reconstructions" in key for key in wandb_server.backend.files) == 2

    read = wandb.Api().run(f"capsbench/{tracker.run_id}")
    assert [row["train/loss"] for row in read.scan_history(keys=["train/loss"])] == [0.1, 0.05]


def test_an_online_run_that_is_resumed_continues_after_the_last_row_the_server_has(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    first = track(folder, "online")
    for step in (10, 20, 30):
        first.log({"train/loss": 1 / step}, step)
    first.finish(1)
    second = track(folder, "online", resumed=True)
    for step in (20, 30, 40):
        second.log({"train/loss": 1 / step}, step)
    second.finish(0)
    assert [row["_step"] for row in wandb_server.run(first.run_id).history()] == [10, 20, 30, 40]


@pytest.mark.parametrize("fault", ["refused", "401", "500", "not logged in"])
def test_a_server_that_cannot_be_had_means_offline(wandb_server, tmp_path, caplog, monkeypatch, fault):
    if fault == "refused":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    elif fault == "not logged in":
        monkeypatch.delenv("WANDB_API_KEY")
    else:
        wandb_server.faults["UpsertBucket"] = int(fault)
    tracker = track(run_path(tmp_path), "online")
    tracker.log({"train/loss": 1.0}, 1)
    tracker.finish(0)
    (warning,) = warnings_in(caplog)
    assert "tracked offline" in warning
    assert tracker.file.parent.name.startswith("offline-run-")
    assert len(read_run(tracker.file).history) == 1
    assert read_run(tracker.file).exit_code == 0


def test_a_server_that_dies_during_the_run_does_not_hold_it_up(wandb_server, tmp_path, caplog):
    tracker = track(run_path(tmp_path), "online")
    wandb_server.rows_left = 0
    for step in range(1, 6):
        tracker.log({"train/loss": 1.0}, step)
    tracker.finish(0)
    (warning,) = warnings_in(caplog)
    assert "TimeoutError" in warning
    assert [row["_step"] for row in read_run(tracker.file).history] == [1, 2, 3, 4, 5]


def test_the_users_offline_setting_beats_the_configured_online(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = track(run_path(tmp_path), "online")
    tracker.finish(0)
    assert wandb_server.log == []


def test_a_full_disk_is_one_warning(wandb_home, tmp_path, caplog):
    folder = run_path(tmp_path)
    write_metrics(folder, [1])
    (folder / "wandb").write_text("a file where a folder should be")
    assert start_tracking(folder, Config(), RUN, RESOLVED, False) is None
    (warning,) = warnings_in(caplog)
    assert "could not be started" in warning
