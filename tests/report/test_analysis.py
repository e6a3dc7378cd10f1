"""Comparisons of runs with known truths."""

from dataclasses import replace

import numpy as np
import pytest

from capsbench.report.analysis import analyse, compare, error_matrix
from capsbench.report.collect import collect
from capsbench.report.statistics.seeds import SeedSpread
from capsbench.training.runs import find_runs
from report.fake_runs import Truth, arm_difficulty, fake_sweep, run_path, write_run, write_runs

TRUTHS = {"capsnet_r3": Truth(25), "capsnet_r1": Truth(25), "cnn_max": Truth(60)}


def gather(root, sweep):
    return collect(sweep, find_runs(root, sweep.group))


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    root, sweep = tmp_path_factory.mktemp("runs"), fake_sweep()
    write_runs(root, sweep, TRUTHS)
    return gather(root, sweep)


@pytest.fixture(scope="module")
def analysis(ablation):
    return analyse(ablation)


def test_the_true_difference_lies_in_the_interval(analysis):
    same, worse = analysis.declared
    assert 100 * worse.paired.low < 0.35 < 100 * worse.paired.high
    assert worse.p_holm < 0.01
    assert worse.probability_better == 1.0
    assert same.paired.low < 0 < same.paired.high


def test_delta_is_the_difference_of_the_arms_means(analysis):
    for pair in analysis.declared:
        a, b = (analysis.arms[name].error.mean for name in (pair.a, pair.b))
        assert 100 * pair.paired.delta == pytest.approx(b - a)


def test_holm_family_is_the_declared_comparisons_whether_run_or_not(ablation):
    three = replace(ablation.sweep, comparisons=(*ablation.sweep.comparisons, ("capsnet_r3", "cnn_none")))
    with_gap = analyse(replace(ablation, sweep=three)).declared
    assert with_gap[2].missing == "no finished run with predictions of CNN without pooling"
    one = analyse(replace(ablation, sweep=replace(ablation.sweep, comparisons=(("capsnet_r3", "cnn_max"),)))).declared
    assert one[0].p_holm == one[0].paired.p
    assert with_gap[1].p_holm == pytest.approx(3 * with_gap[1].paired.p)


def test_everything_undeclared_is_exploratory(analysis):
    pairs = [(pair.a, pair.b, pair.metric) for pair in analysis.exploratory]
    assert pairs == [
        ("capsnet_r1", "cnn_max", "test/errors"),
        ("capsnet_r3", "capsnet_r1", "affine/errors"),
        ("capsnet_r3", "cnn_max", "affine/errors"),
    ]
    assert all(np.isnan(pair.p_holm) for pair in analysis.exploratory)


def test_selected_checkpoint_uses_its_own_predictions(ablation):
    last = compare(ablation, "capsnet_r3", "cnn_max", "test/errors", "last")
    selected = compare(ablation, "capsnet_r3", "cnn_max", "test/errors", "selected")
    assert last.paired.delta != selected.paired.delta
    summary = analyse(replace(ablation, sweep=replace(ablation.sweep, checkpoint="selected"))).arms["cnn_max"]
    assert summary.counts[0] == ablation.arms["cnn_max"].done[0].metrics["test_selected/errors"]


def test_unstable_training_brings_the_two_way_interval(tmp_path):
    sweep = fake_sweep()
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(25)})
    difficulty = arm_difficulty("cnn_max", Truth(60))
    for seed in sweep.seeds:
        write_run(tmp_path, sweep, "cnn_max", seed, Truth(), difficulty * (0.2 if seed % 2 else 1.8))
    pair = analyse(gather(tmp_path, sweep)).declared[1]
    assert pair.canaries[1].verdict is SeedSpread.unstable
    assert pair.two_way[1] - pair.two_way[0] > pair.paired.high - pair.paired.low


def test_variants_of_an_image_are_not_counted_as_images(tmp_path):
    sweep = fake_sweep(seeds=(0, 1), metric="affine/errors")
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(affine=0.9), "cnn_max": Truth(affine=0.8)}, images=300)
    for arm in ("capsnet_r3", "cnn_max"):
        for seed in sweep.seeds:
            path = run_path(tmp_path, sweep, arm, seed) / "predictions.npz"
            arrays = dict(np.load(path))
            label = arrays["affine_label"]
            wrong = np.repeat((label != arrays["affine_predicted"]).reshape(-1, 4)[:, 0], 4)
            arrays["affine_predicted"] = np.where(wrong, (label + 1) % 10, label).astype(np.uint8)
            np.savez(path, **arrays, affine_image=np.repeat(np.arange(label.size // 4), 4).astype(np.int32))
    found = gather(tmp_path, sweep)
    matrix = error_matrix(found.arms["cnn_max"].done, "affine/errors", "last")
    assert matrix.shape == (2, 75)
    assert set(np.unique(matrix)) == {0.0, 1.0}
    assert compare(found, "capsnet_r3", "cnn_max", "affine/errors", "last").paired.images == 75


def test_arms_tested_on_other_images_are_not_compared(tmp_path):
    sweep = fake_sweep(seeds=(0,))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth()}, images=1_000)
    write_runs(tmp_path, sweep, {"cnn_max": Truth()}, images=990)
    pair = analyse(gather(tmp_path, sweep)).declared[1]
    assert pair.paired is None
    assert pair.missing == "the arms were tested on different images"


def test_one_seed_has_a_wilson_interval_and_no_t_interval(tmp_path):
    sweep = fake_sweep(seeds=(0,))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(25)})
    arm = analyse(gather(tmp_path, sweep)).arms["capsnet_r3"]
    assert np.isnan(arm.error.low)
    assert arm.wilson[0] < arm.error.mean < arm.wilson[1]
    assert arm.canary.verdict is SeedSpread.unknown


def test_no_runs_at_all(tmp_path):
    found = analyse(gather(tmp_path, fake_sweep()))
    assert all(arm.error is None for arm in found.arms.values())
    assert all(pair.paired is None for pair in found.declared)
    assert not found.exploratory
