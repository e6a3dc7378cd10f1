"""Routing by expectation-maximisation (Hinton, Sabour and Frosst 2018, "Matrix capsules with EM routing", procedure 1).

An output capsule is a Gaussian with diagonal covariance in the space of votes, and is active where votes cluster.
Minimum variance, damping and the schedule of lambda were confirmed in the released code (google-research, capsule_em,
`em_layers.py`), whose cost is the paper's times two with renamed biases.

Letters: B batch, I input capsules, J output capsules, E pose dimensions. The input capsules run fastest in memory, so
that sums over them and steps along them are of whole vectors; compiled, the step of a small network takes a tenth of
what it takes with the pose dimensions there (measured on 2 cores).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import at_least_fp32
from capsbench.capsules.votes import Votes, lay_out

Posterior = Callable[[Float[Tensor, "batch out_caps in_caps"]], Float[Tensor, "batch out_caps in_caps"]]
SMALLEST_MASS = 1e-7


def over_parents(log_BJI: Float[Tensor, "batch out_caps in_caps"]) -> Float[Tensor, "batch out_caps in_caps"]:
    """Posterior of the assignment where all output capsules see all input capsules: softmax over the outputs."""
    return torch.softmax(log_BJI, dim=1)


def votes_along_inputs(votes: Votes) -> Float[Tensor, "batch out_caps dim in_caps"]:
    """The votes in single precision or better, input capsules fastest in memory."""
    return lay_out(at_least_fp32(votes.stored()).permute(0, 2, 3, 1))


def em_routing(
    votes: Votes,
    activations_BI: Float[Tensor, "batch in_caps"],
    cost_u_J: Float[Tensor, " out_caps"],
    cost_a_J: Float[Tensor, " out_caps"],
    *,
    iterations: int = 3,
    final_lambda: float = 0.01,
    min_variance: float = 5e-4,
    damping: float = 0.0,
    posterior: Posterior = over_parents,
    with_coupling: bool = False,
) -> Routed:
    """Alternate between fitting each output capsule to the votes assigned to it and assigning votes to capsules.

    M step: R_ij <- R_ij a_i; mu_j = sum_i R_ij V_ij / sum_i R_ij; var_j likewise; cost_j^h = (beta_u + log sigma_j^h)
    sum_i R_ij; a_j = sigmoid(lambda (beta_a - sum_h cost_j^h)).
    E step: R_ij proportional to a_j N(V_ij; mu_j, var_j), normalised over the parents.

    Args:
        votes: prediction of each input capsule for each output capsule.
        activations_BI: activations of the input capsules, in [0, 1].
        cost_u_J: beta_u, the cost of describing a vote at all.
        cost_a_J: beta_a, the saving of not activating a capsule.
        iterations: M steps, at least 1.
        final_lambda: iteration t of 1, 2, ... has the inverse temperature final_lambda (1 - 0.95^t).
        min_variance: added to every variance.
        damping: share of the last mean that is kept, 0.1 in the released code (whose first "last mean" is zero) and 0
            in the paper.
        posterior: normalises the E step; convolutional layers normalise over overlapping parents too.
        with_coupling: return R_ij of every M step, before it is weighted by activations.

    Raises:
        ValueError: if `iterations` is less than 1.
    """
    if iterations < 1:
        raise ValueError(f"routing needs at least one iteration, not {iterations}")
    votes_BJEI = votes_along_inputs(votes)
    batch, inputs, outputs, dim = votes.shape
    assignment_BJI = votes_BJEI.new_full((), 1 / outputs).expand(batch, outputs, inputs)
    mean_BJE = votes_BJEI.new_zeros(batch, outputs, dim)
    logit_BJ = votes_BJEI.new_zeros(batch, outputs)
    history = []
    with torch.autocast(votes_BJEI.device.type, enabled=False):
        for iteration in range(1, iterations + 1):
            if with_coupling:
                history.append(assignment_BJI.transpose(1, 2))
            mass_BJI = assignment_BJI * activations_BI[:, None, :]
            total_BJ = mass_BJI.sum(dim=2) + SMALLEST_MASS
            share_BJI = mass_BJI / total_BJ[:, :, None]
            new_BJE = torch.einsum("bji,bjei->bje", share_BJI, votes_BJEI)
            mean_BJE = (1 - damping) * new_BJE + damping * mean_BJE
            squares_BJEI = (votes_BJEI - mean_BJE[..., None]).square()
            variance_BJE = torch.einsum("bji,bjei->bje", share_BJI, squares_BJEI) + min_variance
            log_sigma_BJ = 0.5 * variance_BJE.log().sum(dim=2)
            cost_BJ = (dim * cost_u_J + log_sigma_BJ) * total_BJ
            logit_BJ = final_lambda * (1 - 0.95**iteration) * (cost_a_J - cost_BJ)
            if iteration < iterations:
                distance_BJI = torch.einsum("bjei,bje->bji", squares_BJEI, 0.5 / variance_BJE)
                constant_BJ = functional.logsigmoid(logit_BJ) - log_sigma_BJ - 0.5 * dim * math.log(2 * math.pi)
                assignment_BJI = posterior(constant_BJ[:, :, None] - distance_BJI)
    return Routed(mean_BJE, torch.sigmoid(logit_BJ), torch.stack(history) if with_coupling else None)
