"""Self-routing against a loop over the equations of Hahn et al. 2019."""

import torch

from capsbench.capsules.routing.self_routing import self_routing
from capsules_by_hand import (
    BATCH,
    INPUTS,
    OUTPUTS,
    assert_same_gradients,
    factored,
    random_capsules,
    random_numbers,
    votes_by_hand,
)


def test_equals_the_loop():
    poses, matrices, activations = random_capsules()
    logits = random_numbers(BATCH, INPUTS, OUTPUTS)
    fast = self_routing(factored(poses, matrices), activations, logits)
    means, active = [], []
    for image, a, b in zip(poses, activations, logits, strict=True):
        votes = votes_by_hand(image, matrices)
        r = [[torch.exp(b[i, j]) / sum(torch.exp(b[i])) for j in range(OUTPUTS)] for i in range(INPUTS)]
        for j in range(OUTPUTS):
            mass = sum(r[i][j] * a[i] for i in range(INPUTS))
            means.append(sum(r[i][j] * a[i] * votes[i][j] for i in range(INPUTS)) / mass)
            active.append(mass / sum(a))
    torch.testing.assert_close(fast.poses.flatten(0, 1), torch.stack(means))
    slow = torch.stack(means).pow(3).sum() + torch.stack(active).pow(2).sum()
    together = fast.poses.pow(3).sum() + fast.activations.pow(2).sum()
    assert_same_gradients(together, slow, [poses, matrices, activations, logits])


def test_class_activations_are_probabilities():
    poses, matrices, activations = random_capsules()
    routed = self_routing(factored(poses, matrices), activations, random_numbers(BATCH, INPUTS, OUTPUTS))
    torch.testing.assert_close(routed.activations.sum(dim=1), torch.ones(BATCH, dtype=torch.float64))
