"""Attention routing (Choi, Seo, Im and Kang 2019, "Attention routing between capsules").

Votes of one capsule type are summed over its positions, and every class attends over the types: the softmax runs over
the inputs, not over the outputs. Confirmed in the authors' code (chjw1475/Attention-Routing-Capsules, `FullyConvCaps`,
whose convolution over the whole map is that sum); its dropout is left out.

Letters: B batch, T and S capsule types, J output capsules, E and F output pose dimensions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import activation_of, at_least_fp32, squash
from capsbench.capsules.votes import Votes, lay_out
from capsbench.config_models import Squash


def attention_routing(
    votes: Votes,
    attention_JSET: Float[Tensor, "out_caps types dim types"],
    activation_JEF: Float[Tensor, "out_caps dim dim"],
    bias_JE: Float[Tensor, "out_caps dim"] | None = None,
    *,
    squash_kind: Squash = Squash.tanh,
    with_coupling: bool = False,
) -> Routed:
    """alpha_jt = softmax_t(sum_se A_jset u_j|se); s_j = sum_t alpha_jt u_j|t; v_j = squash(M_j s_j + b_j).

    Args:
        votes: prediction of each capsule type for each output capsule.
        attention_JSET: A, which scores a type by the votes of all types.
        activation_JEF: M, the paper's capsule activation: one linear map per output capsule.
        bias_JE: b.
        squash_kind: what follows the capsule activation; the paper's is `tanh`.
        with_coupling: return alpha, which sums to one over the types, as one iteration.
    """
    votes_JBET = lay_out(at_least_fp32(votes.stored()).permute(2, 0, 3, 1))
    with torch.autocast(votes_JBET.device.type, enabled=False):
        logits_JBT = torch.einsum("jbes,jset->jbt", votes_JBET, at_least_fp32(attention_JSET))
        coupling_JBT = torch.softmax(logits_JBT, dim=2)
        sums_BJE = torch.einsum("jbt,jbet->bje", coupling_JBT, votes_JBET)
        mapped_BJF = torch.einsum("bje,jef->bjf", sums_BJE, at_least_fp32(activation_JEF))
    poses_BJF = squash(mapped_BJF if bias_JE is None else mapped_BJF + bias_JE, squash_kind)
    return Routed(
        poses_BJF, activation_of(poses_BJF, squash_kind), coupling_JBT.permute(1, 2, 0)[None] if with_coupling else None
    )
