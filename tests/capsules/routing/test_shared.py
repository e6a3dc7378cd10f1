"""The shared transformation against its equation, and against uniform routing with equal matrices."""

import torch

from capsbench.capsules.routing.shared import shared_transform
from capsbench.capsules.routing.uniform import uniform_routing
from capsules_by_hand import (
    DIM,
    IN_DIM,
    INPUTS,
    OUTPUTS,
    assert_same_gradients,
    factored,
    random_capsules,
    random_numbers,
)
from paper_loops import squash


def test_equals_the_loop():
    poses, _, _ = random_capsules()
    matrices, bias = random_numbers(OUTPUTS, IN_DIM, DIM), random_numbers(OUTPUTS, DIM, seed=2)
    fast = shared_transform(poses, matrices, bias).poses
    slow = []
    for image in poses:
        for j in range(OUTPUTS):
            s = bias[j]
            for u in image:
                s = (
                    s
                    + torch.stack([sum(u[d] * matrices[j, d, e] for d in range(IN_DIM)) for e in range(DIM)]) / OUTPUTS
                )
            slow.append(squash(s))
    assert_same_gradients(fast.pow(3).sum(), torch.stack(slow).pow(3).sum(), [poses, matrices, bias])


def test_is_uniform_routing_with_one_matrix_for_all_inputs():
    poses, _, _ = random_capsules(1)
    matrices = random_numbers(OUTPUTS, IN_DIM, DIM)
    repeated = matrices[:, :, None, :].expand(-1, -1, INPUTS, -1)
    shared, uniform = (
        shared_transform(poses, matrices, with_coupling=True),
        uniform_routing(factored(poses, repeated), with_coupling=True),
    )
    for a, b in zip(shared, uniform, strict=True):
        torch.testing.assert_close(a, b)
