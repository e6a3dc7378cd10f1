"""Two-way bootstrap (seeds and images) of the difference between two arms, for arms whose training is unstable.

The image-paired interval takes the spread of the seeds as coin flips per image; where the canary says that seeds differ
by more than that, seeds are resampled too.
"""

import numpy as np
from jaxtyping import Num

RESAMPLES = 2_000


def two_way_interval(
    errors_a: Num[np.ndarray, "seeds_a images"],
    errors_b: Num[np.ndarray, "seeds_b images"],
    *,
    resamples: int = RESAMPLES,
    rng_seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile interval of error(B) - error(A) when seeds of each arm and the images are drawn anew.

    The images are shared by the arms and drawn jointly; the seeds of the arms are drawn independently. With few seeds
    (k < 5) resampling them understates their spread by about sqrt((k - 1) / k).

    Returns:
        lower and upper end, as fractions of the images.
    """
    rng = np.random.default_rng(rng_seed)
    images = errors_a.shape[1]
    # Images that nobody gets wrong add nothing: they share one cell of the multinomial.
    wrong = errors_a.any(axis=0) | errors_b.any(axis=0)
    cells = np.append(np.full(int(wrong.sum()), 1 / images), 1 - wrong.sum() / images)
    deltas = np.empty(resamples)
    weights_a = _seed_weights(rng, len(errors_a), resamples)
    weights_b = _seed_weights(rng, len(errors_b), resamples)
    wrong_a, wrong_b = errors_a[:, wrong].astype(np.float64), errors_b[:, wrong].astype(np.float64)
    for start in range(0, resamples, 250):
        part = slice(start, min(start + 250, resamples))
        draws = rng.multinomial(images, cells, size=part.stop - part.start)[:, :-1]
        differences = weights_b[part] @ wrong_b - weights_a[part] @ wrong_a
        deltas[part] = np.sum(draws * differences, axis=1) / images
    low, high = np.quantile(deltas, [0.025, 0.975])
    return float(low), float(high)


def _seed_weights(rng: np.random.Generator, seeds: int, resamples: int) -> np.ndarray:
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
