"""Routing by agreement (Sabour, Frosst, Hinton 2017, procedure 1).

Letters: B batch, I input capsules, J output capsules, E output pose dimensions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.normalisers import coupling_coefficients, first_coefficient
from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import activation_of, squash
from capsbench.capsules.votes import Votes
from capsbench.config_models import Normaliser, RoutingGradient, Squash


def dynamic_routing(
    votes: Votes,
    bias_JE: Float[Tensor, "out_caps dim"] | None = None,
    *,
    iterations: int = 3,
    gradient: RoutingGradient = RoutingGradient.unroll,
    leaky: bool = False,
    normaliser: Normaliser = Normaliser.softmax_out,
    squash_kind: Squash = Squash.hinton,
    with_coupling: bool = False,
) -> Routed:
    """Route votes to output capsules by agreement.

    The logits start at zero and grow by the agreement of each iteration; as agreement is linear in the output poses,
    the logits of an iteration are the agreement with the sum of all poses before it.

    Args:
        votes: prediction of each input capsule for each output capsule.
        bias_JE: added to s_j in every iteration, before squashing (released code); None as in the paper's text.
        iterations: number of routing iterations, at least 1; in the first, all coupling coefficients are equal.
        gradient: through all iterations, or only through the weighted sum of the last.
        leaky: whether coupling may leak to a none-of-the-above parent; for `softmax_out` only.
        normaliser: how logits become coupling coefficients.
        squash_kind: squashing function.
        with_coupling: return the coupling coefficients of every iteration.

    Raises:
        ValueError: if `iterations` is less than 1.
    """
    if iterations < 1:
        raise ValueError(f"routing needs at least one iteration, not {iterations}")
    detach = gradient is RoutingGradient.detach
    early_votes = votes.detached() if detach else votes
    early_bias = bias_JE.detach() if detach and bias_JE is not None else bias_JE
    batch, inputs, outputs, _ = votes.shape
    share = first_coefficient(inputs, outputs, leaky=leaky, normaliser=normaliser)
    history: list[Tensor] = []
    coupling_JBI: Tensor | None = None
    poses_BJE = seen_BJE = torch.zeros(())
    for iteration in range(iterations):
        last = iteration == iterations - 1
        now, bias = (votes, bias_JE) if last else (early_votes, early_bias)
        if iteration > 0:
            coupling_JBI = coupling_coefficients(early_votes.agreement(seen_BJE), leaky=leaky, normaliser=normaliser)
        sums_BJE = now.uniform_sum() * (share * outputs) if coupling_JBI is None else now.weighted_sum(coupling_JBI)
        if with_coupling:
            uniform = sums_BJE.new_full((), share).expand(batch, inputs, outputs)
            history.append(uniform if coupling_JBI is None else coupling_JBI.permute(1, 2, 0))
        poses_BJE = squash(sums_BJE if bias is None else sums_BJE + bias, squash_kind)
        seen_BJE = poses_BJE if iteration == 0 else seen_BJE + poses_BJE
    return Routed(poses_BJE, activation_of(poses_BJE, squash_kind), torch.stack(history) if with_coupling else None)
