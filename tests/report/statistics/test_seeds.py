"""The secondary test, P(better) and the canary."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from capsbench.report.statistics.seeds import (
    SeedSpread,
    canary,
    improvement_across,
    permutation_p,
    predicted_seed_sd,
    probability_better,
)

counts = st.lists(st.integers(0, 60), min_size=2, max_size=5).map(np.array)


@given(counts, counts)
@settings(max_examples=60, deadline=None)
def test_permutation_equals_scipy(counts_a, counts_b):
    expected = stats.permutation_test(
        (counts_a.astype(float), counts_b.astype(float)),
        lambda a, b, axis: a.sum(axis=axis),
        permutation_type="independent",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert permutation_p(counts_a, counts_b) == pytest.approx(expected)


@pytest.mark.parametrize(("seeds", "floor"), [(3, 0.10), (5, 2 / 252), (10, 2 / 184_756)])
def test_smallest_possible_p(seeds, floor):
    assert permutation_p(np.arange(seeds), np.arange(seeds) + 100) == pytest.approx(floor)


def test_twenty_seeds_are_exact():
    rng = np.random.default_rng(0)
    counts_a, counts_b = rng.poisson(1500, 20), rng.poisson(1520, 20)
    pooled = np.concatenate([counts_a, counts_b]).astype(float)
    sums = np.array([rng.permutation(pooled)[:20].sum() for _ in range(20_000)])
    sampled = 2 * min(np.mean(sums <= counts_a.sum()), np.mean(sums >= counts_a.sum()))
    assert permutation_p(counts_a, counts_b) == pytest.approx(min(1, sampled), abs=0.03)


def test_many_seeds_are_sampled():
    rng = np.random.default_rng(4)
    counts_a, counts_b = rng.poisson(1500, 300), rng.poisson(1507, 300)
    expected = stats.ttest_ind(counts_a, counts_b).pvalue
    assert permutation_p(counts_a, counts_b) == pytest.approx(expected, abs=0.02)
    assert permutation_p(counts_a, counts_a + 500) == pytest.approx(2 / 10_000)


def test_probability_better_counts_pairs_and_halves_ties():
    assert probability_better(np.array([1, 2]), np.array([2, 3])) == pytest.approx((3 + 0.5) / 4)
    assert probability_better(np.array([5, 5]), np.array([5, 5])) == 0.5
    assert probability_better(np.array([1]), np.array([2, 3, 4])) == 1.0


def test_probability_better_is_mann_whitney():
    rng = np.random.default_rng(1)
    a, b = rng.poisson(25, 9), rng.poisson(30, 10)
    u = stats.mannwhitneyu(a, b).statistic
    assert probability_better(a, b) == pytest.approx(1 - u / 90)


def test_predicted_seed_sd_of_the_reference():
    for errors, percent in ((25, 0.035), (29, 0.038), (34, 0.041), (39, 0.044)):
        assert predicted_seed_sd(errors) / 100 == pytest.approx(percent, abs=0.0005)


def test_canary_verdicts():
    def with_sd(factor):
        pattern = np.array([-1, 1] * 5)
        sd = math.sqrt(5_000 / 2)
        return canary(np.rint(5_000 + pattern * factor * sd * math.sqrt(0.9)).astype(int))

    assert with_sd(1.0).verdict is SeedSpread.healthy
    assert with_sd(1.0).ratio == pytest.approx(1.0, abs=0.02)
    assert with_sd(0.2).verdict is SeedSpread.alike
    assert with_sd(0.55).verdict is SeedSpread.borderline
    assert with_sd(1.5).verdict is SeedSpread.borderline
    assert with_sd(2.0).verdict is SeedSpread.unstable


def test_canary_needs_two_seeds_and_an_error():
    assert canary(np.array([25])).verdict is SeedSpread.unknown
    assert canary(np.array([0, 0, 0])).verdict is SeedSpread.unknown


def test_chance_range_covers_healthy_seeds():
    rng = np.random.default_rng(2)
    draws = np.rint(rng.normal(400, math.sqrt(200), size=(500, 4))).astype(int)
    inside = [found.chance[0] <= found.ratio <= found.chance[1] for found in map(canary, draws)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)
    assert canary(draws[0, :2]).chance[1] == pytest.approx(2.24, abs=0.01)


def test_improvement_across_data_sets():
    better = [np.array([20, 22, 24]), np.array([200, 210, 205])]
    worse = [np.array([30, 32, 34]), np.array([220, 230, 240])]
    assert improvement_across(better, worse, resamples=200) == (1.0, 1.0, 1.0)
    mean, low, high = improvement_across([better[0], worse[1]], [worse[0], better[1]], resamples=200)
    assert mean == 0.5
    mixed = [np.array([25, 30, 28])]
    mean, low, high = improvement_across(mixed, [np.array([27, 29, 31])], resamples=500)
    assert low < mean < high
