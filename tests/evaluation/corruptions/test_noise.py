import numpy as np
import pytest

from capsbench.evaluation.corruptions.noise import IMPULSES, PHOTONS, impulse_noise, shot_noise


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_shot_noise_keeps_the_mean_and_has_poisson_variance(severity):
    pixels = np.full((20, 1, 50, 50), 0.4, dtype=np.float32)
    noisy = shot_noise(pixels, severity, np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(0.4, rel=0.02)
    assert noisy.var() == pytest.approx(0.4 / PHOTONS[severity - 1], rel=0.05)
    assert shot_noise(pixels * 0, severity, np.random.default_rng(0)).max() == 0


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_impulses_are_as_many_black_as_white(severity):
    noisy = impulse_noise(np.full((20, 1, 50, 50), 0.4, dtype=np.float32), severity, np.random.default_rng(1))
    half = IMPULSES[severity - 1] / 2
    assert (noisy == 1).mean() == pytest.approx(half, rel=0.1)
    assert (noisy == 0).mean() == pytest.approx(half, rel=0.1)
    assert set(np.unique(noisy)) == {np.float32(0), np.float32(0.4), np.float32(1)}
