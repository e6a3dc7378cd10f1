"""Uniform routing against its equation, and against one iteration of routing by agreement."""

import torch

from capsbench.capsules.routing.dynamic import dynamic_routing
from capsbench.capsules.routing.uniform import uniform_routing
from capsules_by_hand import OUTPUTS, assert_same_gradients, factored, random_capsules, random_numbers, votes_by_hand
from paper_loops import squash


def test_equals_the_loop():
    poses, matrices, _ = random_capsules()
    bias = random_numbers(OUTPUTS, 4)
    fast = uniform_routing(factored(poses, matrices), bias).poses
    slow = []
    for image in poses:
        votes = votes_by_hand(image, matrices)
        slow += [squash(sum(row[j] for row in votes) / OUTPUTS + bias[j]) for j in range(OUTPUTS)]
    assert_same_gradients(fast.pow(3).sum(), torch.stack(slow).pow(3).sum(), [poses, matrices, bias])


def test_is_one_iteration_of_dynamic_routing():
    poses, matrices, _ = random_capsules(1)
    one = dynamic_routing(factored(poses, matrices), iterations=1, with_coupling=True)
    uniform = uniform_routing(factored(poses, matrices), with_coupling=True)
    for a, b in zip(one, uniform, strict=True):
        assert torch.equal(a, b)
