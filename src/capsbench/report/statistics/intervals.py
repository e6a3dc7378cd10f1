"""Summaries of one arm: mean and sd over seeds, t and Wilson intervals, median and spread of times."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Summary:
    """A metric over the seeds of an arm, in the metric's own unit.

    Attributes:
        mean: mean over seeds.
        sd: standard deviation over seeds (n - 1); NaN with one seed.
        count: number of seeds.
        lowest: smallest value.
        highest: largest value.
        low: lower end of the 95 % t-interval of the mean; NaN with one seed.
        high: its upper end.
    """

    mean: float
    sd: float
    count: int
    lowest: float
    highest: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over seeds: what times are summed up by, since a busy machine only ever slows a run."""

    median: float
    lower_quartile: float
    upper_quartile: float
    count: int


def summarize(values: Float[np.ndarray, "seeds"]) -> Summary:
    """Mean, sd, extremes and t-interval of the mean; never the best of the seeds.

    Raises:
        ValueError: there are no values.
    """
    if values.size == 0:
        raise ValueError("a summary needs at least one value")
    mean = float(values.mean())
    sd = float(values.std(ddof=1)) if values.size > 1 else math.nan
    low, high = t_interval(values)
    return Summary(mean, sd, int(values.size), float(values.min()), float(values.max()), low, high)


def t_interval(values: Float[np.ndarray, "seeds"], confidence: float = 0.95) -> tuple[float, float]:
    """Student's t-interval of the mean over seeds; NaN with fewer than two."""
    from statsmodels.stats.weightstats import DescrStatsW

    if values.size < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - confidence)
    return float(low), float(high)


def wilson(errors: float, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of an error rate from one run's error count, as fractions of the images.

    Args:
        errors: number of wrong images; a mean over seeds shows what a single run with that many errors would give.
        images: number of test images.
        confidence: two-sided coverage.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(errors, images, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def spread(values: Float[np.ndarray, "seeds"]) -> Spread:
    """Median and quartiles.

    Raises:
        ValueError: there are no values.
    """
    if values.size == 0:
        raise ValueError("a median needs at least one value")
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(lower), float(upper), int(values.size))
