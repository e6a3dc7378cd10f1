"""EM routing against a loop over procedure 1 of Hinton, Sabour and Frosst 2018."""

import math

import pytest
import torch

from capsbench.capsules.routing.em import SMALLEST_MASS, em_routing
from capsbench.capsules.votes import StoredVotes
from capsules_by_hand import (
    DIM,
    INPUTS,
    OUTPUTS,
    assert_same_gradients,
    factored,
    random_capsules,
    random_numbers,
    votes_by_hand,
)

MIN_VARIANCE, LAMBDA = 5e-4, 0.01


def loop(votes, activations, beta_u, beta_a, iterations, damping):
    R = [[torch.tensor(1 / OUTPUTS, dtype=torch.float64) for _ in range(OUTPUTS)] for _ in range(INPUTS)]
    mean = [torch.zeros(DIM, dtype=torch.float64) for _ in range(OUTPUTS)]
    a = []
    for t in range(1, iterations + 1):
        inverse_temperature = LAMBDA * (1 - 0.95**t)
        variance, a = [], []
        for j in range(OUTPUTS):
            weights = [R[i][j] * activations[i] for i in range(INPUTS)]
            total = sum(weights) + SMALLEST_MASS
            new = sum(weights[i] * votes[i][j] for i in range(INPUTS)) / total
            mean[j] = (1 - damping) * new + damping * mean[j]
            squares = sum(weights[i] * (votes[i][j] - mean[j]) ** 2 for i in range(INPUTS)) / total
            variance.append(squares + MIN_VARIANCE)
            cost = sum((beta_u[j] + torch.log(torch.sqrt(variance[j][h]))) * total for h in range(DIM))
            a.append(torch.sigmoid(inverse_temperature * (beta_a[j] - cost)))
        for i in range(INPUTS):
            density = []
            for j in range(OUTPUTS):
                exponent = sum((votes[i][j][h] - mean[j][h]) ** 2 / (2 * variance[j][h]) for h in range(DIM))
                volume = torch.sqrt(torch.prod(2 * math.pi * variance[j]))
                density.append(a[j] * torch.exp(-exponent) / volume)
            R[i] = [p / sum(density) for p in density]
    return mean, a


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_equals_the_loop(iterations, damping):
    poses, matrices, activations = random_capsules()
    beta_u, beta_a = random_numbers(OUTPUTS), random_numbers(OUTPUTS, seed=2)
    votes = factored(poses, matrices)
    fast = em_routing(votes, activations, beta_u, beta_a, iterations=iterations, damping=damping)
    means, active = [], []
    for image, ones in zip(poses, activations, strict=True):
        mean, a = loop(votes_by_hand(image, matrices), ones, beta_u, beta_a, iterations, damping)
        means += mean
        active += a
    torch.testing.assert_close(fast.poses.flatten(0, 1), torch.stack(means))
    slow = torch.stack(means).pow(3).sum() + 100 * torch.stack(active).pow(2).sum()
    together = fast.poses.pow(3).sum() + 100 * fast.activations.pow(2).sum()
    assert_same_gradients(together, slow, [poses, matrices, activations, beta_u, beta_a])


def test_a_tight_cluster_wins_its_votes_and_is_more_active():
    draw = torch.Generator().manual_seed(0)
    votes = torch.randn(1, 40, 2, 4, generator=draw)
    votes[:, :, 0] = 0.05 * votes[:, :, 0]
    zero = torch.zeros(2)
    routed = em_routing(StoredVotes(votes), torch.ones(1, 40), zero, zero, with_coupling=True)
    assert routed.coupling[-1][..., 0].mean() > 0.99
    assert routed.activations[0, 0] > routed.activations[0, 1]


def test_an_inactive_input_has_no_say():
    poses, matrices, activations = random_capsules()
    with torch.no_grad():
        activations[:, 0] = 0
        changed = poses.clone()
        changed[:, 0] = 7
    zero = torch.zeros(OUTPUTS, dtype=torch.float64)
    a = em_routing(factored(poses, matrices), activations, zero, zero)
    b = em_routing(factored(changed, matrices), activations, zero, zero)
    torch.testing.assert_close(a.poses, b.poses)
    torch.testing.assert_close(a.activations, b.activations)


def test_no_iteration_is_an_error():
    poses, matrices, activations = random_capsules()
    with pytest.raises(ValueError, match="at least one iteration"):
        em_routing(factored(poses, matrices), activations, torch.zeros(3), torch.zeros(3), iterations=0)
