"""Intervals of a difference between seeds: textbook values, coverage, and what cannot be said."""

import math

import numpy as np
import pytest
from scipy import stats

from capsbench.report.statistics.difference import ratio_interval, welch_interval


def test_equals_welchs_formula():
    a, b = np.array([4.1, 5.0, 6.2, 5.5]), np.array([7.0, 9.5, 8.0])
    shares = a.var(ddof=1) / 4, b.var(ddof=1) / 3
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / 3 + shares[1] ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(shares))
    middle = b.mean() - a.mean()
    assert welch_interval(a, b) == pytest.approx((middle - half, middle + half))
    assert ratio_interval(np.exp(a), np.exp(b)) == pytest.approx((math.exp(middle - half), math.exp(middle + half)))


def test_few_seeds_and_equal_values():
    assert all(map(math.isnan, welch_interval(np.array([1.0]), np.array([2.0, 3.0]))))
    assert welch_interval(np.array([2.0, 2.0]), np.array([5.0, 5.0])) == (3.0, 3.0)
    with pytest.raises(ValueError, match="positive"):
        ratio_interval(np.array([0.0, 1.0]), np.array([1.0, 2.0]))


@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_stay_near_alpha(seeds):
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 0.05, size=(2_000, 2, seeds))
    alarms = [not low <= 1 <= high for low, high in (ratio_interval(a, b) for a, b in values)]
    assert 0.02 <= np.mean(alarms) <= 0.06
