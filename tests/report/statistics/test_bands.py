"""Simultaneous bands cover the whole mean curve."""

import numpy as np
import pytest
from scipy import stats

from capsbench.report.statistics.bands import curve_band, simultaneous_half_width


@pytest.mark.parametrize("correlation", [0.0, 0.9])
@pytest.mark.parametrize("seeds", [5, 10])
def test_covers_whole_curves(correlation, seeds):
    rng = np.random.default_rng(0)
    points, repeats = 9, 1_500
    own = rng.normal(size=(repeats, seeds, points))
    shared = rng.normal(size=(repeats, seeds, 1))
    curves = np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared
    inside = [np.all(np.abs(one.mean(axis=0)) <= simultaneous_half_width(one)) for one in curves]
    assert np.mean(inside) >= 0.935
    if correlation == 0:
        assert np.mean(inside) <= 0.965


def test_one_point_is_the_t_interval():
    values = np.array([[1.0], [2.0], [4.0], [3.0], [2.5]])
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values[:, 0]))
    band = curve_band(values)
    assert (band.low[0], band.high[0]) == pytest.approx((low, high))
    assert band.kind == "simultaneous 95 % band"


def test_few_seeds_show_their_range_and_say_so():
    band = curve_band(np.array([[0.9, 0.8], [0.7, 0.9]]))
    assert band.kind == "range of the seeds"
    assert band.low.tolist() == [0.7, 0.8]
    assert band.high.tolist() == [0.9, 0.9]
    assert curve_band(np.array([[0.9, 0.8]])).kind == "one seed"
    with pytest.raises(ValueError, match="at least two"):
        simultaneous_half_width(np.array([[0.9, 0.8]]))
