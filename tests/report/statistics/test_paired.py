"""The primary test: textbook values, false alarms, power as tabulated in the reference, and its worked example."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from capsbench.report.statistics.paired import holm, paired_comparison, sign_flip_p
from capsbench.report.statistics.seeds import permutation_p

IMAGES = 10_000


def matrix(row_sums: list[int], column_sums: list[int]) -> np.ndarray:
    """A 0/1 matrix with these margins: every column goes to the rows that still need most (Gale-Ryser)."""
    need = np.array(row_sums)
    columns = []
    for size in sorted(column_sums, reverse=True):
        column = np.zeros(len(need), dtype=bool)
        column[np.argsort(-need, kind="stable")[:size]] = True
        need = need - column
        columns.append((size, column))
    assert not need.any()
    order = np.argsort(np.argsort([-size for size in column_sums], kind="stable"))
    return np.stack([columns[place][1] for place in order], axis=1)


def worked_example() -> tuple[np.ndarray, np.ndarray]:
    """25.0 (sd 3.4) against 34.2 (sd 4.3) errors over 10 seeds, with the image differences that give an SE of 3.11."""
    share = [*[10] * 9, 6, 0, 3, 0, *[8] * 12, *[6] * 11, *[5] * 12, 9, 7, 5]
    other = [*[0] * 9, 0, 4, 0, 3, *[8] * 12, *[6] * 11, *[5] * 12, 9, 7, 5]
    rows_a = [20, 21, 22, 24, 25, 25, 26, 27, 29, 31]
    rows_b = [28, 29, 31, 32, 34, 35, 36, 37, 39, 41]
    errors = []
    for rows, columns in ((rows_a, other), (rows_b, share)):
        block = matrix(rows, columns)
        errors.append(np.pad(block, ((0, 0), (0, IMAGES - block.shape[1]))))
    return errors[0], errors[1]


def seeds_of_two_arms(
    rng: np.random.Generator, seeds: int, mean_a: float, mean_b: float, alike: float
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of two arms on a fresh test set of 10,000, of which some hundred images are hard.

    An image's probability of error is drawn from Beta(1/4, 5/4), whose second moment is half its mean, so that seeds
    spread by sqrt(errors / 2). A share `alike` of the images is equally hard for both arms.
    """
    a, mean = 0.25, 0.25 / 1.5
    shared = alike * min(mean_a, mean_b)
    both, only_a, only_b = rng.poisson([shared / mean, (mean_a - shared) / mean, (mean_b - shared) / mean])
    difficulty = rng.beta(a, a + 1, size=(1, both + only_a + only_b))
    column = np.arange(difficulty.size)
    errors_a = rng.random((seeds, column.size)) < difficulty * (column < both + only_a)
    errors_b = rng.random((seeds, column.size)) < difficulty * ((column < both) | (column >= both + only_a))
    return errors_a, errors_b


def rejections(seeds: int, mean_a: float, mean_b: float, alike: float, repeats: int) -> float:
    rng = np.random.default_rng(17)
    found = 0
    for repeat in range(repeats):
        errors_a, errors_b = seeds_of_two_arms(rng, seeds, mean_a, mean_b, alike)
        differences = errors_b.mean(axis=0) - errors_a.mean(axis=0)
        found += sign_flip_p(differences, flips=1_000, rng_seed=repeat) <= 0.05
    return found / repeats


def test_worked_example_of_the_reference():
    errors_a, errors_b = worked_example()
    assert errors_a.sum(axis=1).mean() == 25.0
    assert errors_b.sum(axis=1).mean() == pytest.approx(34.2)
    assert errors_a.sum(axis=1).std(ddof=1) == pytest.approx(3.4, abs=0.1)
    assert errors_b.sum(axis=1).std(ddof=1) == pytest.approx(4.3, abs=0.1)
    result = paired_comparison(errors_a, errors_b)
    assert result.delta == pytest.approx(0.00092)
    assert result.se == pytest.approx(0.00031, abs=0.000005)
    assert (result.low, result.high) == pytest.approx((0.00031, 0.00153), abs=0.000005)
    assert result.p == pytest.approx(0.003, abs=0.002)
    assert result.smallest_detectable == pytest.approx(2.8 * result.se)


@pytest.mark.parametrize(("only_a", "only_b"), [(20, 35), (9, 9), (3, 14), (0, 6)])
def test_one_seed_is_mcnemar(only_a, only_b):
    errors_a, errors_b = np.zeros((1, 500), dtype=bool), np.zeros((1, 500), dtype=bool)
    errors_a[0, :only_a] = True
    errors_b[0, only_a : only_a + only_b] = True
    errors_a[0, 100:130] = errors_b[0, 100:130] = True
    exact = mcnemar([[400, only_a], [only_b, 30]], exact=True).pvalue
    flips = 200_000
    p = paired_comparison(errors_a, errors_b, flips=flips).p
    assert p == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / flips) + 2 / flips)


def test_grouped_sign_flips_equal_single_flips():
    rng = np.random.default_rng(3)
    differences = np.concatenate([rng.integers(-5, 6, size=60) / 5 + 0.0, np.zeros(400), [0.6, 0.4, 0.4]])
    signs = rng.choice([-1.0, 1.0], size=(40_000, differences.size))
    single = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_p(differences, flips=40_000) == pytest.approx(single, abs=0.012)


def test_arms_that_err_alike_are_never_different():
    errors = np.zeros((3, 100), dtype=bool)
    errors[:, :7] = True
    result = paired_comparison(errors, errors)
    assert (result.delta, result.se, result.p, result.differing) == (0.0, 0.0, 1.0, 0)


def test_same_numbers_at_every_call_and_order_of_arms():
    errors_a, errors_b = worked_example()
    forward, again, back = (
        paired_comparison(errors_a, errors_b),
        paired_comparison(errors_a, errors_b),
        paired_comparison(errors_b, errors_a),
    )
    assert forward == again
    assert (back.low, back.high, back.p) == pytest.approx((-forward.high, -forward.low, forward.p))


def test_different_test_sets_are_refused():
    with pytest.raises(ValueError, match="same images"):
        paired_comparison(np.zeros((2, 10)), np.zeros((2, 11)))


@pytest.mark.parametrize("seeds", [1, 3, 5, 10])
@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_false_alarms_stay_near_alpha(seeds, alike):
    rate = rejections(seeds, 30, 30, alike, repeats=600)
    # The reference tabulates 0.04-0.07; one seed is conservative, since its p-values are coarse.
    assert 0.015 <= rate <= 0.08


@pytest.mark.parametrize(
    ("seeds", "low", "high"), [(1, 0.21, 0.30), (3, 0.47, 0.69), (5, 0.54, 0.83), (10, 0.61, 0.98)]
)
def test_power_as_tabulated(seeds, low, high):
    power = rejections(seeds, 25, 34, 0.7, repeats=400)
    assert low - 0.06 <= power <= high + 0.06


def test_testing_seed_counts_alone_raises_false_alarms_about_the_task():
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(300):
        errors_a, errors_b = seeds_of_two_arms(rng, 10, 30, 30, 0.0)
        alarms += permutation_p(errors_a.sum(axis=1).astype(int), errors_b.sum(axis=1).astype(int)) <= 0.05
    assert alarms / 300 > 0.14


def test_holm_textbook():
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).size == 0
