"""Inverted dot-product attention routing (Tsai, Srivastava, Goh and Salakhutdinov 2020).

Attention in which the output capsules (queries) compete for each input capsule (key), and layer normalisation in place
of squashing. Confirmed in the authors' code (apple/ml-capsules-inverted-attention-routing, `layers.py`). The paper's
concurrent order, in which iteration t of all layers comes before iteration t + 1 of any, differs from the sequential
one only where several capsule layers follow each other: see `models/inverted_attention_net.py`.

Letters: B batch, I input capsules, J output capsules, E pose dimensions.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.votes import Coupling, Poses, Votes

Normalise = Callable[[Tensor], Tensor]


def inverted_attention(votes: Votes, poses_BJE: Poses | None, normalise: Normalise) -> tuple[Poses, Coupling]:
    """One iteration: r_ij = softmax_j(p_j . u_j|i / sqrt(E)); p_j = LayerNorm(sum_i r_ij u_j|i).

    Args:
        votes: prediction of each input capsule for each output capsule.
        poses_BJE: output poses of the last iteration; None in the first, where r_ij = 1 / J.
        normalise: layer normalisation over a pose, with its learned scale and offset.

    Returns:
        New output poses, and the coupling that made them.
    """
    batch, inputs, outputs, dim = votes.shape
    if poses_BJE is None:
        sums_BJE = votes.uniform_sum()
        return normalise(sums_BJE), sums_BJE.new_full((), 1 / outputs).expand(outputs, batch, inputs)
    coupling_JBI = torch.softmax(votes.agreement(poses_BJE) / math.sqrt(dim), dim=0)
    return normalise(votes.weighted_sum(coupling_JBI)), coupling_JBI


def inverted_attention_routing(
    votes: Votes, normalise: Normalise, *, iterations: int = 2, with_coupling: bool = False
) -> Routed:
    """`iterations` times `inverted_attention`, the first with uniform coupling.

    Returns:
        Poses, and their lengths as activations, which layer normalisation makes nearly equal: the paper reads class
        scores from poses by one linear map that all classes share, which is up to the caller.

    Raises:
        ValueError: if `iterations` is less than 1.
    """
    if iterations < 1:
        raise ValueError(f"routing needs at least one iteration, not {iterations}")
    poses_BJE, coupling_JBI = inverted_attention(votes, None, normalise)
    history = [coupling_JBI]
    for _ in range(iterations - 1):
        poses_BJE, coupling_JBI = inverted_attention(votes, poses_BJE, normalise)
        history.append(coupling_JBI)
    coupling = torch.stack([one.permute(1, 2, 0) for one in history]) if with_coupling else None
    return Routed(poses_BJE, torch.linalg.vector_norm(poses_BJE, dim=-1), coupling)
