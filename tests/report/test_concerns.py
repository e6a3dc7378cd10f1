"""What weakens a report is said."""

import json

import numpy as np

from capsbench.report.collect import collect
from capsbench.report.concerns import concerns, hardware, packages
from capsbench.training.runs import find_runs
from report.fake_runs import Truth, arm_difficulty, fake_sweep, run_path, write_failure, write_run, write_runs

IMAGES = 500
TRUTH = Truth(errors=200)
ARMS = dict.fromkeys(("capsnet_r3", "capsnet_r1", "cnn_max", "cnn_none"), TRUTH)


def worries(root, sweep):
    return "\n".join(concerns(collect(sweep, find_runs(root, sweep.group))))


def test_a_clean_sweep_has_none(tmp_path):
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, sweep, ARMS, images=IMAGES)
    assert worries(tmp_path, sweep) == ""


def test_states_and_reasons(tmp_path):
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, fake_sweep(seeds=(0,)), ARMS, images=IMAGES)
    write_failure(tmp_path, sweep, "cnn_max", 1, "RuntimeError: the loss is not finite at step 12\nmore")
    write_failure(tmp_path, sweep, "cnn_none", 1, "RuntimeError: the loss is not finite at step 12")
    text = worries(tmp_path, sweep)
    assert "2 of 8 planned runs failed: CNN, max pooling (1), CNN without pooling (1)" in text
    assert "2 of 8 planned runs missing: CapsNet, 3 iterations (1), CapsNet, 1 iteration (1)" in text
    assert "reason of 2 failed or damaged runs: RuntimeError: the loss is not finite at step 12" in text


def test_mixtures(tmp_path):
    sweep = fake_sweep(seeds=(0, 1, 2))
    difficulty = arm_difficulty("capsnet_r3", TRUTH, IMAGES)
    write_run(tmp_path, sweep, "capsnet_r3", 0, TRUTH, difficulty)
    write_run(tmp_path, sweep, "capsnet_r3", 1, TRUTH, difficulty, commit="f" * 40, dirty=True)
    write_run(tmp_path, sweep, "capsnet_r3", 2, TRUTH, difficulty, gpu="H200", packages={"torch": "2.12.0"})
    text = worries(tmp_path, sweep)
    assert "runs come from different commits: 0123456789 (2), ffffffffff (1)" in text
    assert "1 of 3 runs come from a checkout with uncommitted changes" in text
    assert "their times cannot be compared: Fake CPU 3000, 2 cores; H200 (Fake CPU 3000, 2 cores)" in text
    assert "different PyTorch versions: 2.13.0, 2.12.0" in text


def test_left_out_runs(tmp_path):
    sweep = fake_sweep(seeds=(0,))
    write_runs(tmp_path, sweep, ARMS, images=IMAGES)
    difficulty = arm_difficulty("capsnet_r3", TRUTH, IMAGES)
    write_run(tmp_path, sweep, "capsnet_r3", 0, TRUTH, difficulty, digits="0" * 8, finished="2020-01-01")
    write_run(tmp_path, sweep, "capsnet_r3", 5, TRUTH, difficulty)
    write_run(tmp_path, sweep, "old_arm", 0, TRUTH, difficulty)
    text = worries(tmp_path, sweep)
    assert "1 runs of another configuration (00000000) are left out; reported is 1a2b3c4d" in text
    assert "seeds that the sweep does not plan are left out: 5" in text
    assert "1 runs of arms that are not in the sweep file are left out: old_arm" in text


def test_results_that_contradict_themselves(tmp_path):
    sweep = fake_sweep(seeds=(0, 1, 2))
    write_runs(tmp_path, sweep, {"capsnet_r3": TRUTH}, images=IMAGES)
    first, second, third = (run_path(tmp_path, sweep, "capsnet_r3", seed) for seed in (0, 1, 2))
    (second / "predictions.npz").write_bytes((first / "predictions.npz").read_bytes())
    result = json.loads((second / "result.json").read_text())
    result["metrics"]["test/errors"] = 499
    result["evaluation"] = "other"
    (second / "result.json").write_text(json.dumps(result))
    (third / "predictions.npz").unlink()
    text = worries(tmp_path, sweep)
    wrong = int(
        np.sum(np.load(first / "predictions.npz")["test_label"] != np.load(first / "predictions.npz")["test_predicted"])
    )
    assert f"seed 1: result.json says 499 errors, its predictions show {wrong}" in text
    assert "seeds 0 and 1 made exactly the same predictions" in text
    assert "no predictions.npz for seeds 2; not in the paired tests" in text
    assert "evaluated with different settings" in text


def test_provenance_of_older_runs():
    assert hardware({}) == "unknown processor"
    assert packages({"torch": "2.13.0"}) == {"torch": "2.13.0"}
