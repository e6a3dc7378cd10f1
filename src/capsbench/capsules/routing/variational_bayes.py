"""Routing by variational Bayes (De Sousa Ribeiro, Leontidis and Kollias 2020, "Capsule routing via variational Bayes").

EM routing with priors: a Dirichlet over the mixing proportions, a Gaussian-Wishart over each output capsule's mean and
(diagonal) precision, which keeps a capsule that wins few votes from collapsing to zero variance. The updates were
confirmed in the authors' code (fabio-deep/Variational-Capsule-Routing, `vb_routing.py`), with one difference: the
posterior assignment here is proportional to exp(E ln pi_j + E ln p_ij) as in the paper and sums to one, where the code
leaves E ln pi_j out of the numerator.

Letters: B batch, I input capsules, J output capsules, E pose dimensions.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.em import SMALLEST_MASS, Posterior, over_parents, votes_along_inputs
from capsbench.capsules.routing.result import Routed
from capsbench.capsules.votes import Votes


def variational_bayes_routing(
    votes: Votes,
    activations_BI: Float[Tensor, "batch in_caps"],
    *,
    iterations: int = 3,
    posterior: Posterior = over_parents,
    with_coupling: bool = False,
) -> Routed:
    """Alternate between updating the distributions of output capsules and of assignments.

    With R_ij weighted by a_i, R_j its sum, mu_j and S_j weighted mean and scatter of the votes, and priors alpha_0 = 1,
    kappa_0 = 1, m_0 = 0, Psi_0 = I, nu_0 = E + 1:
    alpha_j = alpha_0 + R_j; kappa_j = kappa_0 + R_j; nu_j = nu_0 + R_j; m_j = R_j mu_j / kappa_j;
    Psi_j^-1 = Psi_0 + S_j + (kappa_0 R_j / kappa_j) mu_j^2;
    E ln pi_j = digamma(alpha_j) - digamma(sum_j alpha_j);
    E ln|Lambda_j| = sum_d digamma((nu_j - d) / 2) + E ln 2 + ln|Psi_j|, d from 0 to E - 1;
    E ln p_ij = (E ln|Lambda_j| - E ln 2 pi - E / kappa_j - nu_j sum_e Psi_je (V_ije - m_je)^2) / 2.

    Args:
        votes: prediction of each input capsule for each output capsule.
        activations_BI: activations of the input capsules, in [0, 1].
        iterations: updates of the output capsules, at least 1.
        posterior: normalises the assignments.
        with_coupling: return R_ij of every iteration, before it is weighted by activations.

    Returns:
        Means m_j as poses and, as activations, minus the entropy of each capsule weighted by its mixing proportion,
        -exp(E ln pi_j) H_j. The caller normalises both over the batch and takes the sigmoid of the second, as the paper
        does; batch statistics also take away the paper's learned offsets beta_a and beta_u, so there are none.

    Raises:
        ValueError: if `iterations` is less than 1.
    """
    if iterations < 1:
        raise ValueError(f"routing needs at least one iteration, not {iterations}")
    votes_BJEI = votes_along_inputs(votes)
    batch, inputs, outputs, dim = votes.shape
    assignment_BJI = votes_BJEI.new_full((), 1 / outputs).expand(batch, outputs, inputs)
    order_E = torch.arange(dim, device=votes_BJEI.device, dtype=votes_BJEI.dtype)
    mean_BJE = log_pi_BJ = log_precision_BJ = votes_BJEI.new_zeros(())
    history = []
    with torch.autocast(votes_BJEI.device.type, enabled=False):
        for iteration in range(iterations):
            if with_coupling:
                history.append(assignment_BJI.transpose(1, 2))
            mass_BJI = assignment_BJI * activations_BI[:, None, :]
            total_BJ = mass_BJI.sum(dim=2) + SMALLEST_MASS
            kappa_BJ, nu_BJ, alpha_BJ = 1 + total_BJ, dim + 1 + total_BJ, 1 + total_BJ
            centre_BJE = torch.einsum("bji,bjei->bje", mass_BJI, votes_BJEI) / total_BJ[:, :, None]
            mean_BJE = centre_BJE * (total_BJ / kappa_BJ)[:, :, None]
            scatter_BJE = torch.einsum("bji,bjei->bje", mass_BJI, (votes_BJEI - centre_BJE[..., None]).square())
            inverse_scale_BJE = 1 + scatter_BJE + (total_BJ / kappa_BJ)[:, :, None] * centre_BJE.square()
            log_pi_BJ = torch.digamma(alpha_BJ) - torch.digamma(alpha_BJ.sum(dim=1, keepdim=True))
            digamma_BJ = torch.digamma(0.5 * (nu_BJ[:, :, None] - order_E)).sum(dim=2)
            log_precision_BJ = digamma_BJ + dim * math.log(2) - inverse_scale_BJE.log().sum(dim=2)
            if iteration < iterations - 1:
                weights_BJE = nu_BJ[:, :, None] / inverse_scale_BJE
                distance_BJI = torch.einsum("bjei,bje->bji", (votes_BJEI - mean_BJE[..., None]).square(), weights_BJE)
                constant_BJ = log_pi_BJ + 0.5 * (log_precision_BJ - dim * math.log(2 * math.pi) - dim / kappa_BJ)
                assignment_BJI = posterior(constant_BJ[:, :, None] - 0.5 * distance_BJI)
        entropy_BJ = 0.5 * (dim * math.log(2 * math.pi * math.e) - log_precision_BJ)
    return Routed(mean_BJE, -log_pi_BJ.exp() * entropy_BJ, torch.stack(history) if with_coupling else None)
