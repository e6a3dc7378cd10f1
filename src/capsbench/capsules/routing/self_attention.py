"""Self-attention routing (Mazzia, Salvetti and Chiaberge 2021, "Efficient-CapsNet", eq. 6 to 9).

Each vote is weighted by its agreement with all votes for the same output capsule, in one pass. Confirmed in the
authors' code (EscVM/Efficient-CapsNet, `FCCaps`), where the learned offset is added after the softmax.

Letters: B batch, I and K input capsules, J output capsules, E output pose dimensions.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import activation_of, squash
from capsbench.capsules.votes import Votes
from capsbench.config_models import Squash


def self_attention_routing(
    votes: Votes,
    offset_JI: Float[Tensor, "out_caps in_caps"],
    bias_JE: Float[Tensor, "out_caps dim"] | None = None,
    *,
    squash_kind: Squash = Squash.exponential,
    with_coupling: bool = False,
) -> Routed:
    """c_ij = softmax_j(sum_k u_j|i . u_j|k / sqrt(E)) + B_ij; v_j = squash(sum_i c_ij u_j|i).

    The sum over k is the agreement of u_j|i with the sum of all votes for j, so no matrix of pairs is made.

    Args:
        votes: prediction of each input capsule for each output capsule.
        offset_JI: B, learned and zero at first; with it, coupling need not sum to one.
        bias_JE: added before squashing (the paper has none).
        squash_kind: squashing function; the paper's is `exponential`.
        with_coupling: return c_ij, as one iteration.
    """
    dim, outputs = votes.shape[3], votes.shape[2]
    everyone_BJE = votes.uniform_sum() * (outputs / math.sqrt(dim))
    coupling_JBI = torch.softmax(votes.agreement(everyone_BJE), dim=0) + offset_JI[:, None, :]
    sums_BJE = votes.weighted_sum(coupling_JBI)
    poses_BJE = squash(sums_BJE if bias_JE is None else sums_BJE + bias_JE, squash_kind)
    coupling = coupling_JBI.permute(1, 2, 0)[None] if with_coupling else None
    return Routed(poses_BJE, activation_of(poses_BJE, squash_kind), coupling)
