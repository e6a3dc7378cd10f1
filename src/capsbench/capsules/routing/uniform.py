"""Uniform coupling: the baseline that every routing algorithm has to beat.

Paik, Kwak and Kim 2019 ("Capsule networks need an improved routing algorithm") find that routing is often worse than
assigning connection strengths uniformly or at random.

Letters: B batch, I input capsules, J output capsules, E output pose dimensions.
"""

from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import activation_of, squash
from capsbench.capsules.votes import Votes
from capsbench.config_models import Squash


def uniform_routing(
    votes: Votes,
    bias_JE: Float[Tensor, "out_caps dim"] | None = None,
    *,
    squash_kind: Squash = Squash.hinton,
    with_coupling: bool = False,
) -> Routed:
    """v_j = squash((1 / J) sum_i u_j|i + b_j), which is dynamic routing stopped after its first iteration."""
    sums_BJE = votes.uniform_sum()
    poses_BJE = squash(sums_BJE if bias_JE is None else sums_BJE + bias_JE, squash_kind)
    batch, inputs, outputs, _ = votes.shape
    coupling = sums_BJE.new_full((), 1 / outputs).expand(1, batch, inputs, outputs) if with_coupling else None
    return Routed(poses_BJE, activation_of(poses_BJE, squash_kind), coupling)
