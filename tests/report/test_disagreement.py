"""Which images only one of two arms gets wrong, and their pictures, from known predictions."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from capsbench.config import Data
from capsbench.data.datasets import load_dataset
from capsbench.report import test_images
from capsbench.report.disagreement import disagreement, disagreements
from capsbench.report.figures.disagreement import disagreement_plate
from capsbench.report.report import study
from capsbench.report.test_images import read_test_images
from report.fake_runs import Truth, fake_sweep, run_path, write_runs

WRONG = {"capsnet_r3": {5: 3, 40: 3, 41: 2, 42: 3}, "cnn_max": {5: 3, 7: 3, 8: 1}}


@pytest.fixture(scope="module", autouse=True)
def unpacked_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_images, "_read_idx", cache(test_images._read_idx))
        yield


@pytest.fixture(scope="module")
def mnist():
    dataset = load_dataset(Data())
    return dataset.test_images.numpy(), dataset.test_labels.numpy().astype(np.uint8)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory, mnist):
    """Three seeds per arm on real MNIST; WRONG says how many of them are wrong on which image."""
    root, sweep = tmp_path_factory.mktemp("runs"), fake_sweep(seeds=(0, 1, 2))
    write_runs(root, sweep, dict.fromkeys(WRONG, Truth(25)))
    for arm, wrong in WRONG.items():
        for seed in sweep.seeds:
            folder = run_path(root, sweep, arm, seed)
            predicted = mnist[1].copy()
            for image, seeds in wrong.items():
                if seed < seeds:
                    predicted[image] = (mnist[1][image] + 1 + (seed == 2)) % 10
            np.savez(folder / "predictions.npz", test_label=mnist[1], test_predicted=predicted)
            result = json.loads((folder / "result.json").read_text())
            result["config"]["data"] = {"name": "mnist", "root": None, "size": None, "crop": None}
            (folder / "result.json").write_text(json.dumps(result))
    return study(sweep, root)


def test_images_are_sorted_by_who_gets_them_wrong(analysis, mnist):
    one = disagreement(analysis.ablation, "capsnet_r3", "cnn_max")
    assert one.only_a.tolist() == [40, 42, 41]
    assert one.only_b.tolist() == [7]
    assert (one.both, one.neither) == (1, 10_000 - 5)
    assert one.wrong_a[41] == pytest.approx(2 / 3)
    assert one.seen_a[40] == (mnist[1][40] + 1) % 10
    assert one.seen_a[0] == mnist[1][0]
    assert len(disagreements(analysis.ablation)) == 1


def test_pictures_are_the_images_of_the_test_set(analysis, mnist):
    plate = disagreement_plate(analysis)
    shown = [image.get_array() for axes in plate.figure.findobj() if hasattr(axes, "images") for image in axes.images]
    assert len(shown) == 4
    for picture, image in zip(shown, (40, 42, 41, 7), strict=True):
        np.testing.assert_array_equal(picture, mnist[0][image, 0])
    assert "both wrong on 1, only the first on 3, only the second on 1, neither on 9995" in plate.caption
    titles = [axes.get_title() for axes in plate.figure.findobj() if hasattr(axes, "get_title")]
    assert f"{mnist[1][7]} → {(mnist[1][7] + 1) % 10}" in titles


def test_no_pictures_of_other_images(analysis, mnist):
    images, labels = mnist
    np.testing.assert_array_equal(read_test_images({"name": "mnist"}, labels), images)
    assert read_test_images({"name": "mnist"}, labels[::-1]) is None
    assert read_test_images({"name": "mnist", "root": "/nowhere"}, labels) is None
    assert read_test_images({"name": "no such set"}, labels) is None
    assert read_test_images({}, labels) is None
    no_data = analysis.ablation.arms["cnn_max"].done[0].config | {"data": {"name": "kmnist"}}
    arms = {
        name: replace(arm, planned=[replace(run, config=no_data) for run in arm.planned])
        for name, arm in analysis.ablation.arms.items()
    }
    assert disagreement_plate(replace(analysis, ablation=replace(analysis.ablation, arms=arms))) is None


def test_images_resized_for_a_run_are_shown_resized(mnist):
    shown = read_test_images({"name": "mnist", "size": 14}, mnist[1])
    assert shown.shape == (10_000, 1, 14, 14)
