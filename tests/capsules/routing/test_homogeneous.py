"""Homogeneous vector capsules against a loop over the equation of Byerly et al. 2021."""

import torch

from capsbench.capsules.routing.homogeneous import homogeneous_capsules
from capsules_by_hand import IN_DIM, INPUTS, OUTPUTS, assert_same_gradients, random_capsules, random_numbers


def test_equals_the_loop():
    poses, _, _ = random_capsules()
    weights = random_numbers(OUTPUTS, IN_DIM, INPUTS)
    fast = homogeneous_capsules(poses, weights, lambda s: 2 * s - 1)
    slow, lengths = [], []
    for image in poses:
        for j in range(OUTPUTS):
            s = sum(torch.stack([image[i, d] * weights[j, d, i] for d in range(IN_DIM)]) for i in range(INPUTS))
            slow.append(torch.stack([torch.clamp(2 * x - 1, min=0) for x in s]))
            lengths.append(torch.sqrt(sum(slow[-1] ** 2)))
    torch.testing.assert_close(fast.activations.flatten(), torch.stack(lengths))
    assert_same_gradients(fast.poses.pow(3).sum(), torch.stack(slow).pow(3).sum(), [poses, weights])


def test_a_dimension_sees_only_itself():
    poses, _, _ = random_capsules()
    weights = random_numbers(OUTPUTS, IN_DIM, INPUTS)
    before = homogeneous_capsules(poses, weights, torch.nn.Identity()).poses
    with torch.no_grad():
        changed = poses.clone()
        changed[:, :, 0] += 1
    after = homogeneous_capsules(changed, weights, torch.nn.Identity()).poses
    assert torch.equal(before[..., 1:], after[..., 1:])
    assert not torch.equal(before[..., 0], after[..., 0])
