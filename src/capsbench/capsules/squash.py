"""Squashing functions: a capsule's length becomes a probability, its direction stays."""

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.config_models import Squash


def at_least_fp32(x: Tensor) -> Tensor:
    """The tensor in single precision if it came in a half format; double precision stays double."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def squash_hinton(s: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
    """|s|^2 / (1 + |s|^2) * s / |s| (Sabour et al. 2017, eq. 1), written as s |s| / (1 + |s|^2).

    The two forms are equal, but this one divides by nothing that can be zero, so its gradient at s = 0 is finite
    (zero) without an epsilon.
    """
    s = at_least_fp32(s)
    length = torch.linalg.vector_norm(s, dim=dim, keepdim=True)
    return s * (length / (1 + length.square()))


def squash_exponential(s: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
    """(1 - exp(-|s|)) s / |s| (Xi et al. 2017; Mazzia et al. 2021, eq. 5), which keeps a gradient for short capsules."""
    s = at_least_fp32(s)
    length = torch.linalg.vector_norm(s, dim=dim, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny ** 0.5)
    return s * (-torch.expm1(-length) / length)


def squash(s: Float[Tensor, "*shape"], kind: Squash, dim: int = -1) -> Float[Tensor, "*shape"]:
    """The squashing function that the configuration names, over the axis of pose dimensions."""
    return squash_exponential(s, dim) if kind is Squash.exponential else squash_hinton(s, dim)
