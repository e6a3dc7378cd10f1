"""Intervals of one arm against the reference's table and textbook values."""

import math

import numpy as np
import pytest
from scipy import stats

from capsbench.report.statistics.intervals import spread, summarize, t_interval, wilson


@pytest.mark.parametrize(
    ("errors", "low", "high"), [(25, 0.169, 0.369), (29, 0.202, 0.416), (34, 0.243, 0.475), (39, 0.285, 0.533)]
)
def test_wilson_as_tabulated(errors, low, high):
    assert wilson(errors, 10_000) == pytest.approx((low / 100, high / 100), abs=0.00001)


def test_wilson_without_errors_is_not_empty():
    low, high = wilson(0, 10_000)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(1.96**2 / (10_000 + 1.96**2), rel=1e-3)


def test_t_interval():
    values = np.array([4.1, 5.0, 6.2, 5.5])
    expected = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(expected)
    # Two values: the quantile of one degree of freedom is 12.706.
    assert t_interval(np.array([1.0, 3.0])) == pytest.approx((2 - 12.706, 2 + 12.706), abs=0.001)
    assert t_interval(np.array([2.0, 2.0, 2.0])) == (2.0, 2.0)
    assert all(map(math.isnan, t_interval(np.array([2.0]))))


def test_summary_of_one_and_more_seeds():
    found = summarize(np.array([25.0, 29.0, 24.0]))
    assert (found.mean, found.count, found.lowest, found.highest) == (26.0, 3, 24.0, 29.0)
    assert found.sd == pytest.approx(math.sqrt(7))
    assert math.isnan(summarize(np.array([25.0])).sd)
    with pytest.raises(ValueError, match="at least one"):
        summarize(np.array([]))


def test_spread_ignores_one_slow_run():
    found = spread(np.array([10.0, 11.0, 12.0, 13.0, 500.0]))
    assert (found.median, found.lower_quartile, found.upper_quartile) == (12.0, 11.0, 13.0)
    with pytest.raises(ValueError, match="at least one"):
        spread(np.array([]))
