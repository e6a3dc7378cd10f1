"""Coupling drawn once at random and never learned: the second baseline of Paik, Kwak and Kim 2019.

Letters: B batch, I input capsules, J output capsules, E output pose dimensions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import activation_of, squash
from capsbench.capsules.votes import Votes
from capsbench.config_models import Squash


def random_fixed_routing(
    votes: Votes,
    coupling_JI: Float[Tensor, "out_caps in_caps"],
    bias_JE: Float[Tensor, "out_caps dim"] | None = None,
    *,
    squash_kind: Squash = Squash.hinton,
    with_coupling: bool = False,
) -> Routed:
    """v_j = squash(sum_i c_ij u_j|i + b_j) with coefficients that were drawn once and are never learned.

    Args:
        votes: prediction of each input capsule for each output capsule.
        coupling_JI: see `draw_coupling`; the same for every image.
        bias_JE: added before squashing.
        squash_kind: squashing function.
        with_coupling: return the coefficients, as one iteration.
    """
    batch = votes.shape[0]
    sums_BJE = votes.weighted_sum(coupling_JI[:, None, :].expand(-1, batch, -1))
    poses_BJE = squash(sums_BJE if bias_JE is None else sums_BJE + bias_JE, squash_kind)
    coupling = coupling_JI.t()[None, None].expand(1, batch, -1, -1) if with_coupling else None
    return Routed(poses_BJE, activation_of(poses_BJE, squash_kind), coupling)


def draw_coupling(inputs: int, outputs: int) -> Float[Tensor, "out_caps in_caps"]:
    """Softmax over the outputs of standard normal logits, from PyTorch's generator.

    The paper says that strengths are assigned randomly; the distribution is our choice.
    """
    return torch.softmax(torch.randn(outputs, inputs), dim=0)
