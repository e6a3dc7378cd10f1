"""One run on two processes: the same numbers as on one, one result, inside and outside a sweep."""

import csv
import json
import os
import subprocess
import sys

import psutil
import pytest

SMALL = ["model=cnn_small", "data=mnist_small", "data.train_images=400", "data.validation_images=203", "logger=csv"]
SHORT = ["trainer.batch_size=50", "trainer.epochs=2", "trainer.log_every=1", "trainer.eval_batch_size=100"]
SAME = ["evaluation=minimal", "trainer.compile=false", "trainer.threads=1", "trainer.precision=32-true"]
COMMAND = [sys.executable, "-m", "capsbench"]


def start(tmp_path, *arguments):
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=200, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(tmp_path, group):
    (path,) = tmp_path.glob(f"runs/{group}/*/seed00/metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def result(tmp_path, group):
    (path,) = tmp_path.glob(f"runs/{group}/*/seed00/result.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    run = [*SMALL, *SHORT, *SAME, "trainer.progress=false"]
    start(tmp_path, "train", *run, "run.group=one")
    output = start(tmp_path, "train", *run, "run.group=two", "trainer.devices=2")
    assert "Warning" not in output
    one, two = rows(tmp_path, "one"), rows(tmp_path, "two")
    assert len(one) == len(two) == 16
    for alone, together in zip(one, two, strict=True):
        assert alone["step"] == together["step"]
        assert float(together["train/loss"]) == pytest.approx(float(alone["train/loss"]), rel=1e-4)
        assert float(together["train/accuracy"]) == pytest.approx(float(alone["train/accuracy"]), abs=1e-6)
        # 203 validation images over two processes: none is counted twice.
        if alone["val/accuracy"]:
            assert together["val/accuracy"] == alone["val/accuracy"]
    assert one[-1]["val/accuracy"]
    alone, together = result(tmp_path, "one"), result(tmp_path, "two")
    assert together["metrics"]["test/errors"] == alone["metrics"]["test/errors"]
    assert together["test_images"] == 10_000


@pytest.mark.slow
def test_a_search_trains_one_set_of_parameters_on_all_processes_and_prunes_them_together(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"""
kind: search
base: [{", ".join([*SMALL, *SHORT, *SAME, "trainer.devices=2", "trainer.epochs=3"])}]
params: {{optimizer.lr: "choice(0.000001, 0.003)"}}
sampler: random
pruner: {{name: median, n_startup_trials: 1}}
enqueue: [{{optimizer.lr: 0.003}}, {{optimizer.lr: 0.000001}}]
trials: 2
"""
    )
    output = start(tmp_path, "sweep", "mine.yaml")
    assert "trial 0: val/loss" in output
    assert "trial 1: pruned after epoch 1 (optimizer.lr=1e-06)" in output
    (found,) = tmp_path.glob("runs/mine/trial_*/seed00/result.json")
    assert json.loads(found.read_text())["config"]["optimizer"]["lr"] == 0.003
    (stopped,) = tmp_path.glob("runs/mine/trial_*/seed00/pruned.json")
    assert json.loads(stopped.read_text())["epoch"] == 0
    assert not [process for process in psutil.process_iter() if _here(process, tmp_path)]


def _here(process, folder):
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False
