"""Simultaneous bands over seeds for curves: the whole curve lies inside, not only each point.

With L points, each gets a t-interval at Sidak's level 1 - 0.95^(1/L), so that the family covers the mean curve with at
least 95 % probability (Sidak 1967: exact for independent points, conservative for correlated ones). No bootstrap of
max |t|: with the five or ten curves that an arm has, it is anti-conservative. Below five seeds the t quantiles are so
wide that a band says nothing; the range of the seeds is shown instead and must be called that.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MIN_SEEDS = 5


@dataclass(frozen=True)
class Band:
    """Mean curve and what is drawn around it.

    Attributes:
        mean: mean over seeds at each point.
        low: lower edge.
        high: upper edge.
        seeds: number of curves.
        kind: `simultaneous 95 % band`, `range of the seeds` or `one seed`.
    """

    mean: Float[np.ndarray, "points"]
    low: Float[np.ndarray, "points"]
    high: Float[np.ndarray, "points"]
    seeds: int
    kind: str


def curve_band(curves: Float[np.ndarray, "seeds points"]) -> Band:
    """The band that an arm's number of seeds supports."""
    mean = curves.mean(axis=0)
    if len(curves) < MIN_SEEDS:
        kind = "one seed" if len(curves) == 1 else "range of the seeds"
        return Band(mean, curves.min(axis=0), curves.max(axis=0), len(curves), kind)
    half_width = simultaneous_half_width(curves)
    return Band(mean, mean - half_width, mean + half_width, len(curves), "simultaneous 95 % band")


def simultaneous_half_width(
    curves: Float[np.ndarray, "seeds points"], confidence: float = 0.95
) -> Float[np.ndarray, "points"]:
    """Half the width of a band that covers the whole mean curve with probability `confidence`.

    Raises:
        ValueError: there are fewer than two curves.
    """
    from scipy.stats import t

    seeds, points = curves.shape
    if seeds < 2:
        raise ValueError("a band needs at least two curves")
    single = confidence ** (1 / points)
    quantile = float(t.ppf((1 + single) / 2, seeds - 1))
    return np.asarray(quantile * curves.std(axis=0, ddof=1) / np.sqrt(seeds))
