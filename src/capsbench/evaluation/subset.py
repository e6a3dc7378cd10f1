"""Which test images an evaluation looks at: the same for every run, and fewer are part of more."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from capsbench.data.shuffle import shuffled


def subset(count: int, wanted: int | None, seed: int, stream: int) -> Int64[Tensor, "subset"]:
    """Positions, ascending, of `wanted` of `count` images, drawn from the seed alone; all if None or too few."""
    if wanted is None or wanted >= count:
        return torch.arange(count)
    return torch.from_numpy(np.sort(shuffled(count, seed, stream)[:wanted]))
