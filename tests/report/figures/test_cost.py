"""The Pareto front and where markers stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.report.figures.cost import pareto_front, side_by_side

points = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=12)


def test_front_of_known_points():
    assert pareto_front([(1, 9), (2, 5), (3, 7), (4, 5), (5, 1), (2, 6)]) == [(1, 9), (2, 5), (5, 1)]


@given(points)
def test_front_is_what_nothing_beats(found):
    front = pareto_front(found)
    for point in found:
        beaten = any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in found)
        assert (point in front) == (not beaten)


def test_equal_costs_stand_side_by_side():
    places = side_by_side({"a": 200.0, "b": 200.0, "c": 40.0})
    assert places["a"] < 200 < places["b"]
    assert places["a"] * places["b"] == pytest.approx(200**2)
    assert places["c"] == 40
    assert side_by_side({}) == {}
