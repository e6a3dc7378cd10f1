"""The two-way bootstrap agrees with the paired interval for healthy seeds and is wider for unstable ones."""

import numpy as np

from capsbench.report.statistics.bootstrap import two_way_interval
from capsbench.report.statistics.paired import paired_comparison


def healthy(rng, seeds, difficulty):
    return rng.random((seeds, difficulty.size)) < difficulty


def test_wider_than_the_paired_interval_by_the_spread_of_seeds():
    rng = np.random.default_rng(0)
    difficulty = np.where(rng.random(10_000) < 0.03, rng.random(10_000), 0.0)
    a, b = healthy(rng, 10, difficulty), healthy(rng, 10, np.roll(difficulty, 40))
    low, high = two_way_interval(a, b)
    paired = paired_comparison(a, b)
    assert low < paired.delta < high
    assert 1.0 < (high - low) / (paired.high - paired.low) < 1.3

    unstable = b & (rng.random((10, 1)) < 0.5)
    low_2, high_2 = two_way_interval(a, unstable)
    paired_2 = paired_comparison(a, unstable)
    assert (high_2 - low_2) / (paired_2.high - paired_2.low) > 1.5


def test_covers_the_true_difference_when_whole_runs_vary():
    rng = np.random.default_rng(1)
    two_way = paired = 0
    repeats = 120
    for _ in range(repeats):
        rates_a, rates_b = rng.uniform(0.02, 0.08, (2, 10, 1))
        a, b = rng.random((10, 800)) < rates_a, rng.random((10, 800)) < rates_b
        low, high = two_way_interval(a, b, resamples=300)
        two_way += low <= 0 <= high
        found = paired_comparison(a, b, flips=10)
        paired += found.low <= 0 <= found.high
    assert two_way / repeats >= 0.88
    assert paired < two_way


def test_is_reproducible_and_antisymmetric_in_sign():
    rng = np.random.default_rng(2)
    a, b = rng.random((3, 500)) < 0.05, rng.random((4, 500)) < 0.08
    assert two_way_interval(a, b) == two_way_interval(a, b)
    low, high = two_way_interval(a, a)
    assert low < 0 < high
