"""Self-routing (Hahn, Pyeon and Kim 2019): every capsule decides by itself where to go.

Like the gate of a mixture of experts; there is no agreement and no iteration. Confirmed in the authors' code
(coder3000/SR-CapsNet, `SelfRouting2d`).

Letters: B batch, I input capsules, J output capsules, E output pose dimensions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import at_least_fp32
from capsbench.capsules.votes import Votes

SMALLEST_ACTIVATION = 1e-12


def self_routing(
    votes: Votes,
    activations_BI: Float[Tensor, "batch in_caps"],
    logits_BIJ: Float[Tensor, "batch in_caps out_caps"],
    *,
    with_coupling: bool = False,
) -> Routed:
    """r_ij = softmax_j(W_i u_i + b_i); a_j = sum_i r_ij a_i / sum_i a_i; p_j = sum_i r_ij a_i u_j|i / sum_i r_ij a_i.

    Args:
        votes: prediction of each input capsule for each output capsule.
        activations_BI: activations of the input capsules, not negative.
        logits_BIJ: W_i u_i + b_i, where each capsule's own matrix starts at zero so that routing starts uniform.
        with_coupling: return r_ij, as one iteration.

    Returns:
        Activations that sum to one over the output capsules, so that a class probability can be read from them.
    """
    shares_BIJ = torch.softmax(at_least_fp32(logits_BIJ), dim=2)
    weighted_BIJ = shares_BIJ * activations_BI[:, :, None]
    mass_BJ = weighted_BIJ.sum(dim=1)
    coefficients_JBI = (weighted_BIJ / (mass_BJ[:, None, :] + SMALLEST_ACTIVATION)).permute(2, 0, 1)
    poses_BJE = votes.weighted_sum(coefficients_JBI)
    activations_BJ = mass_BJ / (activations_BI.sum(dim=1, keepdim=True) + SMALLEST_ACTIVATION)
    return Routed(poses_BJE, activations_BJ, shares_BIJ[None] if with_coupling else None)
