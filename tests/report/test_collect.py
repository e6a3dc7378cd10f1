"""Runs on disk become one typed object, with nothing lost and nothing mixed."""

import json

import numpy as np
import pytest

from capsbench.report.collect import RunState, collect
from capsbench.training.runs import find_runs
from report.fake_runs import Truth, arm_difficulty, fake_sweep, run_path, write_failure, write_run, write_runs

IMAGES = 500
TRUTH = Truth(errors=200)


@pytest.fixture
def sweep():
    return fake_sweep(seeds=(0, 1, 2))


def gather(root, sweep, hashes=None):
    return collect(sweep, find_runs(root, sweep.group), hashes)


def test_every_planned_run_has_a_state(tmp_path, sweep):
    write_runs(tmp_path, fake_sweep(seeds=(0,)), {"capsnet_r3": TRUTH}, images=IMAGES)
    write_failure(tmp_path, sweep, "capsnet_r3", 1, "ValueError: too hot\nsecond line")
    (run_path(tmp_path, sweep, "capsnet_r1", 0)).mkdir(parents=True)
    (run_path(tmp_path, sweep, "capsnet_r1", 0) / "last.ckpt").write_bytes(b"")
    found = gather(tmp_path, sweep)
    assert [run.state for run in found.arms["capsnet_r3"].planned] == ["done", "failed", "missing"]
    assert found.arms["capsnet_r3"].planned[1].reason == "ValueError: too hot"
    assert [run.state for run in found.arms["capsnet_r1"].planned] == ["stale", "missing", "missing"]
    assert len(found.planned) == 12
    assert len(found.done) == 1


def test_predictions_and_metrics_agree(tmp_path, sweep):
    write_runs(tmp_path, sweep, {"capsnet_r3": TRUTH}, images=IMAGES)
    for run in gather(tmp_path, sweep).done:
        assert run.predictions.errors("test/errors", "last").sum() == run.metrics["test/errors"]
        assert run.predictions.errors("test/errors", "selected").sum() == run.metrics["test_selected/errors"]
        assert run.predictions.errors("affine/errors", "last").sum() == run.metrics["affine/errors"]


def test_other_configurations_of_an_arm_are_never_merged(tmp_path, sweep):
    difficulty = arm_difficulty("capsnet_r3", TRUTH, IMAGES)
    for seed in (0, 1):
        write_run(tmp_path, sweep, "capsnet_r3", seed, TRUTH, difficulty, digits="aaaaaaaa", finished="2026-01-01")
    for seed in (1, 2):
        write_run(tmp_path, sweep, "capsnet_r3", seed, TRUTH, difficulty, digits="bbbbbbbb", finished="2026-01-02")
    newest = gather(tmp_path, sweep).arms["capsnet_r3"]
    assert newest.hash == "bbbbbbbb"
    assert [run.state for run in newest.planned] == ["missing", "done", "done"]
    assert {run.hash for run in newest.conflicting} == {"aaaaaaaa"}
    wanted = gather(tmp_path, sweep, {"capsnet_r3": "aaaaaaaa"}).arms["capsnet_r3"]
    assert [run.state for run in wanted.planned] == ["done", "done", "missing"]
    assert len(wanted.conflicting) == 2
    changed = gather(tmp_path, sweep, {"capsnet_r3": "cccccccc"}).arms["capsnet_r3"]
    assert {run.state for run in changed.planned} == {RunState.missing}
    assert len(changed.conflicting) == 4


def test_unplanned_seeds_and_unknown_arms_are_kept_apart(tmp_path, sweep):
    difficulty = arm_difficulty("capsnet_r3", TRUTH, IMAGES)
    write_run(tmp_path, sweep, "capsnet_r3", 7, TRUTH, difficulty)
    write_run(tmp_path, sweep, "stranger", 0, TRUTH, difficulty)
    found = gather(tmp_path, sweep)
    assert [run.seed for run in found.arms["capsnet_r3"].extra] == [7]
    assert [run.arm for run in found.strangers] == ["stranger"]
    assert not found.done


def test_an_arm_whose_name_begins_like_another(tmp_path):
    sweep = fake_sweep(seeds=(0,))
    write_runs(tmp_path, sweep, {"capsnet_r3": TRUTH}, images=IMAGES)
    longer = run_path(tmp_path, sweep, "capsnet_r3_long", 0)
    longer.mkdir(parents=True)
    assert [len(arm.done) for arm in gather(tmp_path, sweep).arms.values()] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("file", "content"),
    [("result.json", b"{"), ("predictions.npz", b"PK not a zip"), ("predictions.npz", b"")],
)
def test_damaged_files_are_named_and_do_not_stop_the_report(tmp_path, sweep, file, content):
    write_runs(tmp_path, sweep, {"capsnet_r3": TRUTH}, images=IMAGES)
    (run_path(tmp_path, sweep, "capsnet_r3", 1) / file).write_bytes(content)
    runs = gather(tmp_path, sweep).arms["capsnet_r3"].planned
    assert [run.state for run in runs] == ["done", "damaged", "done"]
    assert file in runs[1].reason


def test_a_copied_folder_is_not_taken_for_another_run(tmp_path, sweep):
    write_runs(tmp_path, sweep, {"capsnet_r3": TRUTH}, images=IMAGES)
    path = run_path(tmp_path, sweep, "capsnet_r3", 1) / "result.json"
    result = json.loads(path.read_text())
    result["run"]["seed"] = 0
    path.write_text(json.dumps(result))
    run = gather(tmp_path, sweep).arms["capsnet_r3"].planned[1]
    assert run.state is RunState.damaged
    assert "another run" in run.reason


def test_runs_without_predictions_or_finite_metrics_still_count(tmp_path, sweep):
    write_runs(tmp_path, sweep, {"capsnet_r3": TRUTH}, images=IMAGES)
    folder = run_path(tmp_path, sweep, "capsnet_r3", 0)
    (folder / "predictions.npz").unlink()
    result = json.loads((folder / "result.json").read_text())
    result["metrics"]["val/loss"] = float("nan")
    (folder / "result.json").write_text(json.dumps(result))
    arm = gather(tmp_path, sweep).arms["capsnet_r3"]
    assert arm.done[0].predictions is None
    assert "val/loss" not in arm.done[0].metrics
    assert arm.values("test/errors").shape == (3,)
    assert np.isnan(arm.values("nothing")).size == 0
