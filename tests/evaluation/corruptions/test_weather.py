import colorsys

import numpy as np
import pytest

from capsbench.evaluation.corruptions.weather import MUD, brightness, fog, plasma, spatter


@pytest.fixture
def digits(mnist):
    return mnist.test_images[:40].numpy().astype(np.float32) / 255


def test_brightness_raises_value_and_keeps_hue(digits):
    draw = np.random.default_rng(0)
    assert brightness(digits, 3, draw) == pytest.approx(np.minimum(digits + np.float32(0.3), 1))
    colours = draw.random((1, 3, 4, 4), dtype=np.float32)
    brighter = brightness(colours, 2, draw)
    for row in range(4):
        for column in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*colours[0, :, row, column].tolist())
            expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))
            assert brighter[0, :, row, column] == pytest.approx(expected, abs=1e-5)


def test_fog_hides_more_with_severity_and_keeps_the_brightest_value_within_reach(digits):
    contrast = []
    for severity in (1, 3, 5):
        foggy = fog(digits, severity, np.random.default_rng(0))
        assert foggy.min() >= 0
        assert foggy.max() <= 1
        ink = digits > 0.9
        contrast.append(foggy[ink].mean() - foggy[digits == 0].mean())
        assert len(np.unique(foggy[:, 0, 0, 0])) > 20
    assert contrast[0] > contrast[1] > contrast[2] > 0.1
    # A window of clouds: brightest / (brightest + thickness) of pixel plus thickness times a value in [0, 1].
    ratio = fog(np.ones((1, 1, 8, 8), dtype=np.float32), 1, np.random.default_rng(0))
    assert (ratio >= 1 / 2.5 - 1e-6).all()


def test_plasma_spans_the_unit_range_wraps_around_and_is_smoother_with_faster_decay():
    maps = plasma(8, 64, 2.0, np.random.default_rng(0))
    assert maps.min(axis=(1, 2)) == pytest.approx(np.zeros(8))
    assert maps.max(axis=(1, 2)) == pytest.approx(np.ones(8))
    step = np.abs(np.diff(maps, axis=2)).mean()
    assert np.abs(maps[:, :, 0] - maps[:, :, -1]).mean() < 2 * step
    assert np.abs(maps[:, :, :32] - maps[:, :, 32:]).mean() > 4 * step
    rough = plasma(8, 64, 1.4, np.random.default_rng(0))
    assert np.abs(np.diff(rough, axis=2)).mean() > 2 * step


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_mud_covers_some_of_the_image_with_its_own_grey(severity):
    white = np.ones((100, 1, 28, 28), dtype=np.float32)
    muddy = spatter(white, severity, np.random.default_rng(0))
    covered = muddy < 0.999
    assert 0.003 < covered.mean() < 0.5
    # Thinner than four fifths is no mud at all.
    assert muddy[covered].max() <= 1 - 0.8 * (1 - MUD) + 1e-5
    assert muddy.min() >= MUD - 1e-5
    black = spatter(white * 0, severity, np.random.default_rng(0))
    assert black == pytest.approx(MUD * (1 - muddy) / (1 - MUD), abs=1e-5)
