"""Draws that are the same on every machine and under every version of NumPy."""

import numpy as np
from jaxtyping import Int64


def shuffled(count: int, seed: int, stream: int) -> Int64[np.ndarray, "count"]:
    """The numbers below `count` in a drawn order, the same on every machine and under every version of NumPy.

    NumPy promises the raw words of PCG64 for ever, but `Generator.permutation` may change; so the numbers are sorted
    by raw words.
    """
    words = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(count)
    return np.argsort(words, kind="stable")
