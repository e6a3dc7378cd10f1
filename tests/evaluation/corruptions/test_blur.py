import numpy as np
import pytest
from scipy import ndimage

from capsbench.evaluation.corruptions import blur
from capsbench.evaluation.corruptions.blur import GLASS, MOTION, glass_blur, motion_blur, smooth


def test_smoothing_is_of_each_image_and_channel_alone():
    pixels = np.random.default_rng(0).random((3, 2, 9, 11), dtype=np.float32)
    expected = [[ndimage.gaussian_filter(channel, 1.1, mode="nearest") for channel in image] for image in pixels]
    assert smooth(pixels, 1.1) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_glass_moves_pixels_no_further_than_passes_allow(monkeypatch, severity):
    _, reach, _ = GLASS[severity - 1]
    monkeypatch.setattr(blur, "smooth", lambda pixels, deviation: pixels.copy())
    pixels = np.arange(4 * 2 * 20 * 20, dtype=np.float32).reshape(4, 2, 20, 20)
    moved = glass_blur(pixels, severity, np.random.default_rng(0))
    for image, shuffled in zip(pixels, moved, strict=True):
        assert np.array_equal(np.sort(image[0], axis=None), np.sort(shuffled[0], axis=None))
        # Colours of a pixel stay together.
        assert np.array_equal(shuffled[1] - shuffled[0], np.full((20, 20), 400))
        share = (image[0] != shuffled[0]).mean()
        assert 0.3 < share < 1
    assert not np.array_equal(moved[0] - pixels[0], moved[1] - pixels[1])
    down = np.abs(np.divmod(moved[0, 0], 20)[0] - np.arange(20)[:, None])
    assert np.median(down) <= 2 * reach


@pytest.mark.parametrize("severity", [1, 5])
def test_motion_leaves_a_fading_trail_on_one_side(severity):
    radius, deviation = MOTION[severity - 1]
    pixels = np.zeros((50, 1, 121, 121), dtype=np.float32)
    pixels[:, 0, 60, 60] = 1
    trail = motion_blur(pixels, severity, np.random.default_rng(0))[:, 0]
    assert trail.sum(axis=(1, 2)) == pytest.approx(np.ones(50), abs=1e-5)
    assert trail[:, :, 61:].max() == 0
    rows, columns = np.nonzero(trail.sum(axis=0))
    assert columns.min() >= 60 - 2 * radius
    assert (np.abs(rows - 60) <= np.abs(columns - 60) + 1).all()
    assert len({tuple(np.argwhere(image).min(axis=0)) for image in trail}) > 10
    steps = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * deviation**2))
    # One pixel of the trail may take two steps where it is steep.
    assert trail.max(axis=(1, 2)) == pytest.approx(np.full(50, steps[0] / steps.sum()), rel=1.01)
