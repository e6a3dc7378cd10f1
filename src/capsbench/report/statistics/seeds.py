"""What the seeds' error counts say: the secondary test, a claim about these test images, and the canary.

The permutation test asks whether the two arms' error counts could have been dealt out by chance; P(better) is the
probability that a new run of A beats a new run of B (Bouthillier et al. 2021, arXiv:2103.03098, who ask for 0.75). The
canary compares the spread of the seeds with the one that independent coin flips per image predict (Jordan 2023,
arXiv:2304.01910).
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Int

BETTER_MARK = 0.75
# Above these the exact count takes seconds or overflows.
EXACT_STEPS, EXACT_SEEDS, RANDOM = 200_000_000, 400, 9_999
ALIKE_BELOW, HEALTHY_FROM, HEALTHY_TO, UNSTABLE_ABOVE = 0.4, 0.7, 1.4, 1.6


def permutation_p(counts_a: Int[np.ndarray, "seeds_a"], counts_b: Int[np.ndarray, "seeds_b"]) -> float:
    """Exact two-sided p-value of an unpaired permutation test on the seeds' error counts.

    Twice the smaller tail, as `scipy.stats.permutation_test` has it. All subsets are counted by their sum instead of
    being listed (scipy needs 1.6 s for 10 seeds against 10, and cannot do 20 exactly). The smallest value it can take
    is 2 / C(2k, k): 0.10 for 3 seeds per arm, 0.008 for 5. Beyond some hundred seeds 9,999 seeded random permutations
    stand in for all of them.
    """
    pooled = np.concatenate([counts_a, counts_b]).astype(np.int64)
    pooled = pooled - pooled.min()
    chosen, total = len(counts_a), int(pooled.sum())
    observed = int(pooled[:chosen].sum())
    if (chosen + 1) * (total + 1) * len(pooled) > EXACT_STEPS or len(pooled) > EXACT_SEEDS:
        sums = np.random.default_rng(0).permuted(np.tile(pooled, (RANDOM, 1)), axis=1)[:, :chosen].sum(axis=1)
        tails = (1 + np.count_nonzero(sums <= observed), 1 + np.count_nonzero(sums >= observed))
        return float(min(1.0, 2 * min(tails) / (1 + RANDOM)))
    # ways[j, t]: subsets of j of the counts seen so far whose sum is t.
    ways = np.zeros((chosen + 1, total + 1))
    ways[0, 0] = 1
    for count in pooled.tolist():
        ways[1:, count:] += ways[:-1, : total + 1 - count].copy()
    share = ways[chosen] / math.comb(len(pooled), chosen)
    return float(min(1.0, 2 * share[: observed + 1].sum(), 2 * share[observed:].sum()))


def probability_better(counts_a: Int[np.ndarray, "seeds_a"], counts_b: Int[np.ndarray, "seeds_b"]) -> float:
    """Share of all pairs of seeds in which A makes fewer errors than B; ties count half."""
    gaps = np.subtract.outer(counts_a.astype(np.int64), counts_b.astype(np.int64))
    return float(np.mean(gaps < 0) + 0.5 * np.mean(gaps == 0))


def improvement_across(
    counts_a: list[Int[np.ndarray, "seeds_a"]],
    counts_b: list[Int[np.ndarray, "seeds_b"]],
    *,
    resamples: int = 2_000,
    rng_seed: int = 0,
) -> tuple[float, float, float]:
    """Mean probability of improvement over several data sets, with a stratified bootstrap interval.

    Seeds are resampled within each data set (Agarwal et al. 2021, arXiv:2108.13264).

    Returns:
        mean P(A better), and the ends of its 95 % percentile interval.
    """
    rng = np.random.default_rng(rng_seed)
    means = np.empty(resamples)
    for draw in range(resamples):
        means[draw] = np.mean(
            [
                probability_better(rng.choice(a, len(a)), rng.choice(b, len(b)))
                for a, b in zip(counts_a, counts_b, strict=True)
            ]
        )
    low, high = np.quantile(means, [0.025, 0.975])
    mean = np.mean([probability_better(a, b) for a, b in zip(counts_a, counts_b, strict=True)])
    return float(mean), float(low), float(high)


class SeedSpread(StrEnum):
    """What the canary says about an arm's seeds."""

    unknown = "unknown"
    alike = "alike"
    borderline = "borderline"
    healthy = "healthy"
    unstable = "unstable"


@dataclass(frozen=True)
class Canary:
    """Observed over predicted standard deviation of the seeds' error counts.

    Attributes:
        observed: standard deviation of the error counts over seeds; NaN with one seed.
        predicted: sqrt(mean errors / 2).
        ratio: observed / predicted; NaN where it cannot be formed.
        chance: the range in which 95 % of ratios fall by chance alone for this many seeds of a healthy arm.
        verdict: healthy in 0.7-1.4, alike below 0.4, unstable above 1.6.
    """

    observed: float
    predicted: float
    ratio: float
    chance: tuple[float, float]
    verdict: SeedSpread


def predicted_seed_sd(mean_errors: float) -> float:
    """Standard deviation of the error count over seeds that independent coin flips per image predict, in images."""
    return math.sqrt(mean_errors / 2)


def canary(counts: Int[np.ndarray, "seeds"]) -> Canary:
    """Judge whether the seeds of an arm differ as much as they should."""
    from scipy.stats import chi2

    predicted = predicted_seed_sd(float(counts.mean()))
    freedom = len(counts) - 1
    if freedom < 1 or predicted == 0:
        observed = float(counts.std(ddof=1)) if freedom >= 1 else math.nan
        return Canary(observed, predicted, math.nan, (0.0, math.inf), SeedSpread.unknown)
    observed = float(counts.std(ddof=1))
    ratio = observed / predicted
    low, high = np.sqrt(chi2.ppf([0.025, 0.975], freedom) / freedom)
    return Canary(observed, predicted, ratio, (float(low), float(high)), _spread(ratio))


def _spread(ratio: float) -> SeedSpread:
    if ratio < ALIKE_BELOW:
        return SeedSpread.alike
    if ratio > UNSTABLE_ABOVE:
        return SeedSpread.unstable
    return SeedSpread.healthy if HEALTHY_FROM <= ratio <= HEALTHY_TO else SeedSpread.borderline
