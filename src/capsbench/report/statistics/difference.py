"""How far two arms differ in a metric of whole runs: intervals over seeds of a difference and of a ratio."""

import math

import numpy as np
from jaxtyping import Float


def welch_interval(
    values_a: Float[np.ndarray, "seeds_a"], values_b: Float[np.ndarray, "seeds_b"], confidence: float = 0.95
) -> tuple[float, float]:
    """Welch's t-interval of mean(B) - mean(A), in the metric's unit; NaN where an arm has fewer than two seeds."""
    from scipy.stats import ttest_ind

    if min(values_a.size, values_b.size) < 2:
        return math.nan, math.nan
    if not (np.ptp(values_a) or np.ptp(values_b)):
        difference = float(values_b.mean() - values_a.mean())
        return difference, difference
    found = ttest_ind(values_b, values_a, equal_var=False).confidence_interval(confidence)
    return float(found.low), float(found.high)


def ratio_interval(
    values_a: Float[np.ndarray, "seeds_a"], values_b: Float[np.ndarray, "seeds_b"], confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the ratio of B's geometric mean to A's: Welch's on logarithms, for times, which vary by factors.

    Raises:
        ValueError: a value is not positive.
    """
    if min(values_a.min(initial=1), values_b.min(initial=1)) <= 0:
        raise ValueError("a ratio needs positive values")
    low, high = welch_interval(np.log(values_a), np.log(values_b), confidence)
    return math.exp(low), math.exp(high)
