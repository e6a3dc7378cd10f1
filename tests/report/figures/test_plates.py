"""Every figure shows what the runs measured."""

import numpy as np
import pytest

from capsbench.report.figures.forest import forest_plate
from capsbench.report.figures.learning import learning_plate
from capsbench.report.figures.pictures import reconstructions_plate
from capsbench.report.figures.plates import draw_plates
from capsbench.report.figures.robustness import robustness_plate
from capsbench.report.figures.routing import entropy_plate
from capsbench.report.report import study
from report.fake_runs import Truth, fake_sweep, run_path, write_runs

TRUTHS = {
    "capsnet_r3": Truth(25, decoder=True),
    "capsnet_r1": Truth(29),
    "cnn_max": Truth(60, affine=0.7, capsules=False, parameters=1_000_000, macs=4e7, seconds=8),
}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    root, sweep = tmp_path_factory.mktemp("runs"), fake_sweep(seeds=tuple(range(5)))
    write_runs(root, sweep, TRUTHS, images=2_000)
    return study(sweep, root)


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def line_points(axes):
    return np.concatenate([line.get_xydata() for line in axes.lines if len(line.get_xydata())])


def test_all_figures_of_a_sweep(analysis):
    plates = draw_plates(analysis)
    names = [plate.name for plate in plates]
    expected = ["errors", "robustness", "time", "pareto", "learning", "reconstructions", "dimensions", "health"]
    assert names == [*expected, "coupling", "coupling_maps"]
    for plate in plates:
        assert plate.title
        assert plate.caption
        assert plate.alt


def test_forest_shows_means_seeds_and_published_values(analysis):
    plate = forest_plate(analysis)
    (axes,) = plate.figure.axes
    points = line_points(axes)
    for row, (name, arm) in enumerate(analysis.arms.items()):
        if arm.error:
            assert np.any(np.all(np.isclose(points, [arm.error.mean, row]), axis=1))
            for count in arm.counts.values():
                assert np.any(np.all(np.isclose(points, [100 * count / arm.images, row + 0.24]), axis=1))
        published = analysis.ablation.sweep.arms[name].published
        if published:
            assert np.any(np.all(np.isclose(points, [published.value, row - 0.27]), axis=1))
    assert "no finished run" in texts(plate.figure)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_robustness_has_a_panel_per_factor_with_the_mean_curve(analysis):
    plate = robustness_plate(analysis)
    assert [axes.get_title(loc="left") for axes in plate.figure.axes] == ["rotation", "scale", "shear", "translation"]
    runs = analysis.ablation.arms["cnn_max"].done
    mean = 100 * np.mean([run.figures["affine"]["rotation"]["accuracy"] for run in runs], axis=0)
    assert any(np.allclose(line.get_ydata(), mean) for line in plate.figure.axes[0].lines)
    assert len(plate.figure.axes[0].collections) == 3
    assert "simultaneous 95 % bands" in plate.caption


def test_learning_curves_by_epoch_and_time(analysis):
    by_epoch, by_time = learning_plate(analysis).figure.axes
    assert by_epoch.lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert by_time.lines[0].get_xdata().tolist() == [20, 40, 60, 80]
    assert by_epoch.lines[0].get_ydata()[0] > by_epoch.lines[0].get_ydata()[-1]


def test_reconstructions_mark_wrong_predictions(analysis):
    plate = reconstructions_plate(analysis)
    assert "4 → 9" in texts(plate.figure)
    assert "CapsNet, 3 iterations" in plate.alt
    assert "CNN" not in plate.alt


def test_entropy_belongs_to_routing_only(analysis):
    plate = entropy_plate(analysis)
    labels = texts(plate.figure)
    assert "uniform" in labels
    assert not any("CNN" in label for label in labels)


def test_what_was_not_measured_is_not_drawn(tmp_path):
    sweep = fake_sweep(seeds=(0,))
    assert draw_plates(study(sweep, tmp_path)) == []
    write_runs(tmp_path, sweep, {"cnn_max": Truth(60, capsules=False)}, images=1_000)
    (run_path(tmp_path, sweep, "cnn_max", 0) / "metrics.csv").unlink()
    assert [plate.name for plate in draw_plates(study(sweep, tmp_path))] == ["errors", "robustness", "time"]


def test_colour_pictures_and_damaged_ones(tmp_path):
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(60)}, images=1_000)
    (run_path(tmp_path, sweep, "capsnet_r3", 0) / "pictures.npz").write_bytes(b"PK")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    labels = np.arange(3)
    path = run_path(tmp_path, sweep, "capsnet_r3", 1) / "pictures.npz"
    np.savez(path, images=images, reconstructions=images, labels=labels, predicted=labels)
    plate = reconstructions_plate(study(sweep, tmp_path))
    shown = [image.get_array() for axes in plate.figure.findobj() if hasattr(axes, "images") for image in axes.images]
    assert len(shown) == 6
    assert shown[0].shape == (8, 8, 3)
