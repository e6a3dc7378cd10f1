"""Figures of parts, pose, overlap, corruption, attack, matched accuracy and routing health."""

import re

import numpy as np
import pytest

from capsbench.report.figures.adversarial import adversarial_plate
from capsbench.report.figures.corruption import corruption_plate
from capsbench.report.figures.dots import arm_values, measured
from capsbench.report.figures.health import health_plate, links_plate
from capsbench.report.figures.matched import history, matched_plate, threshold
from capsbench.report.figures.overlap import overlap_plate
from capsbench.report.figures.parts import condition_name, parts_plate
from capsbench.report.figures.plates import draw_plates
from capsbench.report.figures.pose import pose_plate
from capsbench.report.report import study
from report.fake_evaluations import CONDITIONS, FACTORS, add_evaluations
from report.fake_runs import Truth, fake_sweep, run_path, write_runs

PLATES = {
    "matched": matched_plate,
    "parts": parts_plate,
    "pose": pose_plate,
    "overlap": overlap_plate,
    "corruption": corruption_plate,
    "adversarial": adversarial_plate,
    "health": health_plate,
    "links": links_plate,
}
STRENGTHS = {"capsnet_r3": 0.9, "capsnet_r1": 0.6, "cnn_max": 0.3}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root, sweep = tmp_path_factory.mktemp("runs"), fake_sweep(seeds=(0, 1))
    write_runs(root, sweep, dict.fromkeys(STRENGTHS, Truth()), images=500)
    for name, strength in STRENGTHS.items():
        for seed in sweep.seeds:
            add_evaluations(run_path(root, sweep, name, seed), strength, seed)
    return study(sweep, root)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root, sweep = tmp_path_factory.mktemp("plain"), fake_sweep(seeds=(0, 1))
    write_runs(root, sweep, {"cnn_max": Truth(capsules=False)}, images=500)
    return study(sweep, root)


@pytest.mark.parametrize("name", PLATES)
def test_drawn_where_measured_and_left_out_elsewhere(evaluated, plain, name):
    plate = PLATES[name](evaluated)
    assert plate is not None
    assert plate.name == name
    # Numbers that stand in no table are said to those who do not see the picture, arm by arm.
    labels = {arm.arm.label for arm in evaluated.ablation.arms.values() if arm.done}
    assert "3 arms" in plate.alt or all(re.search(rf"{re.escape(label)}: [^:;]*\d", plate.alt) for label in labels)
    texts = {text.get_text() for text in plate.figure.findobj(match=lambda one: hasattr(one, "get_text"))}
    assert {"CapsNet, 3 iterations", "CNN, max pooling"} <= texts
    assert "CNN without pooling" not in texts
    assert plate.svg.startswith(b"<?xml")
    assert PLATES[name](plain) is None


def test_they_are_part_of_the_report(evaluated):
    assert set(PLATES) <= {plate.name for plate in draw_plates(evaluated)}


def test_rows_are_what_was_measured(evaluated):
    assert measured(evaluated, "parts/", "_claimed") == list(CONDITIONS)
    assert measured(evaluated, "pose/", "_r2") == [*FACTORS, "mean"]
    values = arm_values(evaluated, ["overlap/exact_match", "no/such"], 100)
    assert list(values) == ["capsnet_r3", "capsnet_r1", "cnn_max"]
    for name, strength in STRENGTHS.items():
        assert list(values[name]) == ["overlap/exact_match"]
        np.testing.assert_allclose(values[name]["overlap/exact_match"], 100 * strength, atol=5)


def test_conditions_in_words():
    assert condition_name("grid4") == "4 × 4 parts rearranged"
    assert condition_name("mixed2") == "2 × 2 parts of two images mixed"
    assert condition_name("swapped_sides") == "left and right swapped"
    assert condition_name("something_new") == "something new"


def test_matched_paths_and_runs_that_never_got_there(evaluated, tmp_path):
    paths = history(evaluated.ablation.arms["cnn_max"])
    assert paths is not None
    assert [path.shape for path in paths] == [(4, 2), (4, 2)]
    assert threshold(evaluated) == 0.95
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, sweep, {"cnn_max": Truth()}, images=500)
    for seed in sweep.seeds:
        folder = run_path(tmp_path, sweep, "cnn_max", seed)
        add_evaluations(folder, 0.5, seed)
        if seed:
            text = (folder / "result.json").read_text()
            (folder / "result.json").write_text(text.replace("matched/epoch", "matched/other"))
    plate = matched_plate(study(sweep, tmp_path))
    assert plate is not None
    assert "CNN, max pooling: 1 of 2 runs never got there" in plate.caption
