"""Variational Bayes routing against a loop over the updates of De Sousa Ribeiro et al. 2020."""

import math

import pytest
import torch
from torch import digamma

from capsbench.capsules.routing.em import SMALLEST_MASS
from capsbench.capsules.routing.variational_bayes import variational_bayes_routing
from capsules_by_hand import (
    DIM,
    INPUTS,
    OUTPUTS,
    assert_same_gradients,
    factored,
    random_capsules,
    votes_by_hand,
)


def loop(votes, activations, iterations):
    R = [[torch.tensor(1 / OUTPUTS, dtype=torch.float64) for _ in range(OUTPUTS)] for _ in range(INPUTS)]
    m, activity = [], []
    for _ in range(iterations):
        weights = [[R[i][j] * activations[i] for j in range(OUTPUTS)] for i in range(INPUTS)]
        R_j = [sum(weights[i][j] for i in range(INPUTS)) + SMALLEST_MASS for j in range(OUTPUTS)]
        alpha, kappa, nu = [1 + r for r in R_j], [1 + r for r in R_j], [DIM + 1 + r for r in R_j]
        m, inverse_Psi, E_ln_pi, E_ln_det = [], [], [], []
        for j in range(OUTPUTS):
            mu = sum(weights[i][j] * votes[i][j] for i in range(INPUTS)) / R_j[j]
            m.append(R_j[j] * mu / kappa[j])
            scatter = sum(weights[i][j] * (votes[i][j] - mu) ** 2 for i in range(INPUTS))
            inverse_Psi.append(1 + scatter + R_j[j] / kappa[j] * mu**2)
            E_ln_pi.append(digamma(alpha[j]) - digamma(sum(alpha)))
            E_ln_det.append(
                sum(digamma((nu[j] + 1 - d) / 2) for d in range(1, DIM + 1))
                + DIM * math.log(2)
                - torch.log(torch.prod(inverse_Psi[j]))
            )
        for i in range(INPUTS):
            shares = []
            for j in range(OUTPUTS):
                distance = DIM / kappa[j] + nu[j] * sum((votes[i][j] - m[j]) ** 2 / inverse_Psi[j])
                E_ln_p = E_ln_det[j] / 2 - DIM / 2 * math.log(2 * math.pi) - distance / 2
                shares.append(torch.exp(E_ln_pi[j] + E_ln_p))
            R[i] = [p / sum(shares) for p in shares]
        activity = []
        for j in range(OUTPUTS):
            entropy = DIM / 2 * math.log(2 * math.pi * math.e) - E_ln_det[j] / 2
            activity.append(-torch.exp(E_ln_pi[j]) * entropy)
    return m, activity


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_equals_the_loop(iterations):
    poses, matrices, activations = random_capsules()
    fast = variational_bayes_routing(factored(poses, matrices), activations, iterations=iterations)
    means, active = [], []
    for image, ones in zip(poses, activations, strict=True):
        mean, activity = loop(votes_by_hand(image, matrices), ones, iterations)
        means += mean
        active += activity
    torch.testing.assert_close(fast.poses.flatten(0, 1), torch.stack(means))
    slow = torch.stack(means).pow(3).sum() + torch.stack(active).pow(2).sum()
    together = fast.poses.pow(3).sum() + fast.activations.pow(2).sum()
    assert_same_gradients(together, slow, [poses, matrices, activations])


def test_without_active_inputs_only_the_priors_are_left():
    poses, matrices, activations = random_capsules()
    routed = variational_bayes_routing(factored(poses, matrices), torch.zeros_like(activations), iterations=2)
    torch.testing.assert_close(routed.poses, torch.zeros_like(routed.poses), atol=1e-6, rtol=0)
    torch.testing.assert_close(routed.activations[:, 0], routed.activations[:, 1])


def test_no_iteration_is_an_error():
    poses, matrices, activations = random_capsules()
    with pytest.raises(ValueError, match="at least one iteration"):
        variational_bayes_routing(factored(poses, matrices), activations, iterations=0)
