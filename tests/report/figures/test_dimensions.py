"""The paper's figure 4 and the maps of coupling show the arrays that the runs kept."""

import numpy as np

from capsbench.report.figures.coupling_maps import coupling_maps_plate, mean_maps, tiles
from capsbench.report.figures.dimensions import dimensions_plate, read_perturbed
from capsbench.report.report import study
from report.fake_runs import Truth, fake_sweep, run_path, write_runs


def images_of(figure):
    return [image.get_array() for axes in figure.findobj() if hasattr(axes, "images") for image in axes.images]


def test_rows_are_dimensions_and_columns_offsets(tmp_path):
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(decoder=True), "capsnet_r1": Truth()}, images=1_000)
    kept = read_perturbed(run_path(tmp_path, sweep, "capsnet_r3", 0))
    assert kept.rebuilt.shape == (3, 8, 11, 1, 28, 28)
    plate = dimensions_plate(study(sweep, tmp_path))
    shown = images_of(plate.figure)
    assert len(shown) == 3
    assert "1 iteration" not in plate.alt
    # Dimension 3 of image 1 at offset 7, where it must stand in the mosaic.
    np.testing.assert_array_equal(shown[1][3 * 30 : 3 * 30 + 28, 7 * 30 : 7 * 30 + 28], kept.rebuilt[1, 3, 7, 0])
    assert "−0.25" in [text.get_text() for axes in plate.figure.axes for text in axes.get_xticklabels()]


def test_colour_and_damaged_pictures(tmp_path):
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth()}, images=1_000)
    assert dimensions_plate(study(sweep, tmp_path)) is None
    (run_path(tmp_path, sweep, "capsnet_r3", 0) / "pictures.npz").write_bytes(b"PK")
    rebuilt = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 3, 8, 8), dtype=np.uint8)
    labels, offsets = np.array([7]), np.array([-0.25, 0, 0.25])
    path = run_path(tmp_path, sweep, "capsnet_r3", 1) / "pictures.npz"
    np.savez(path, perturbed=rebuilt, perturbed_labels=labels, perturbed_offsets=offsets)
    (shown,) = images_of(dimensions_plate(study(sweep, tmp_path)).figure)
    assert shown.shape == (2 * 10 - 2, 3 * 10 - 2, 3)


def test_maps_are_means_over_seeds_in_units_of_uniform(tmp_path):
    sweep = fake_sweep(seeds=(0, 1))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(decoder=True), "capsnet_r1": Truth()}, images=1_000)
    analysis = study(sweep, tmp_path)
    arm = analysis.ablation.arms["capsnet_r3"]
    both = np.array([run.figures["routing"]["coupling_map"] for run in arm.done])
    maps = mean_maps(arm)
    assert maps.shape == (3, 32, 6, 6)
    np.testing.assert_allclose(maps, both.mean(axis=0))
    assert maps[2, 31].mean() > 1.5 > 1.1 > maps[0].max()
    plate = coupling_maps_plate(analysis)
    np.testing.assert_array_equal(images_of(plate.figure)[2], tiles(maps[2]))
    assert "1 iteration" not in plate.alt


def test_tiles_keep_their_places():
    maps = np.arange(5 * 2 * 3, dtype=float).reshape(5, 2, 3)
    canvas = tiles(maps)
    across = (canvas.shape[1] + 1) // 4
    for place in range(5):
        top, left = place // across * 3, place % across * 4
        np.testing.assert_array_equal(canvas[top : top + 2, left : left + 3], maps[place])
    assert np.isnan(canvas).sum() == canvas.size - maps.size
