"""Image-paired comparison of two arms: the primary test, a claim about the task.

Run-to-run variation on a test set is close to independent coin flips per image (Jordan 2023, arXiv:2304.01910), so
seeds are averaged first and images are the sample: d_i = mean_s E_B[s, i] - mean_s E_A[s, i], where E[s, i] is 1 where
seed s is wrong on image i. With one seed per arm this is McNemar's test.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

SIGN_FLIPS = 10_000
Z_95 = 1.96
# 1.96 for the two-sided 5 % level plus 0.84 for 80 % power.
DETECTABLE_IN_SE = 2.8


@dataclass(frozen=True)
class Paired:
    """Difference in error rate between two arms; all rates are fractions of the test images.

    Attributes:
        delta: error of B minus error of A; positive where B is worse.
        se: standard error of `delta` over images.
        low: lower end of the 95 % confidence interval.
        high: upper end of the 95 % confidence interval.
        p: two-sided p-value of the sign-flip test, before any correction.
        images: number of test images.
        differing: images on which the two arms' mean errors differ.
    """

    delta: float
    se: float
    low: float
    high: float
    p: float
    images: int
    differing: int

    @property
    def smallest_detectable(self) -> float:
        """The difference that this comparison would have found with 80 % power: 2.8 standard errors."""
        return DETECTABLE_IN_SE * self.se


def paired_comparison(
    errors_a: Num[np.ndarray, "seeds_a images"],
    errors_b: Num[np.ndarray, "seeds_b images"],
    *,
    flips: int = SIGN_FLIPS,
    rng_seed: int = 0,
) -> Paired:
    """Compare two arms on the same images.

    Args:
        errors_a: 1 where a seed of arm A is wrong on an image (or the share of an image's variants it gets wrong).
        errors_b: the same for arm B; the number of seeds may differ.
        flips: random sign assignments behind the p-value.
        rng_seed: seed of those assignments, so that a report can be rebuilt to the digit.

    Raises:
        ValueError: the arms were tested on different numbers of images, or on none.
    """
    if errors_a.shape[1] != errors_b.shape[1] or errors_a.shape[1] == 0:
        raise ValueError(f"arms need the same images, found {errors_a.shape[1]} and {errors_b.shape[1]}")
    differences = np.asarray(errors_b.mean(axis=0) - errors_a.mean(axis=0), dtype=np.float64)
    images = differences.size
    delta = float(differences.mean())
    se = float(np.sqrt(np.sum((differences - delta) ** 2)) / images)
    return Paired(
        delta=delta,
        se=se,
        low=delta - Z_95 * se,
        high=delta + Z_95 * se,
        p=sign_flip_p(differences, flips=flips, rng_seed=rng_seed),
        images=images,
        differing=int(np.count_nonzero(differences)),
    )


def sign_flip_p(differences: Float[np.ndarray, "images"], *, flips: int = SIGN_FLIPS, rng_seed: int = 0) -> float:
    """Two-sided p-value of the sum of `differences` under random signs of the non-zero ones.

    Differences of equal size are flipped together: the number of positive signs among m of them is binomial(m, 1/2),
    which draws from the same distribution as m single flips at a fraction of the cost. The observed assignment counts
    as one draw, so that p is never 0 and the test is valid at any number of flips.
    """
    sizes, counts = np.unique(np.round(np.abs(differences[differences != 0]), 12), return_counts=True)
    if sizes.size == 0:
        return 1.0
    positive = np.random.default_rng(rng_seed).binomial(counts, 0.5, size=(flips, sizes.size))
    sums = (2 * positive - counts) @ sizes
    tolerance = 1e-9 * float(sizes @ counts)
    extreme = np.count_nonzero(np.abs(sums) >= abs(differences.sum()) - tolerance)
    return float((1 + extreme) / (1 + flips))


def holm(p_values: Float[np.ndarray, "comparisons"]) -> Float[np.ndarray, "comparisons"]:
    """Holm's adjustment over the declared comparisons; one that has no data yet enters as 1 and keeps its place."""
    from statsmodels.stats.multitest import multipletests

    if p_values.size == 0:
        return p_values
    return np.asarray(multipletests(p_values, method="holm")[1], dtype=np.float64)
