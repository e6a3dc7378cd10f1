"""Inverted dot-product attention against a loop over the equations of Tsai et al. 2020."""

import math

import pytest
import torch
from torch.nn import functional

from capsbench.capsules.routing.inverted_attention import inverted_attention_routing
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


def layer_norm(s, scale, offset):
    mean = sum(s) / len(s)
    variance = sum((x - mean) ** 2 for x in s) / len(s)
    return (s - mean) / torch.sqrt(variance + 1e-5) * scale + offset


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_equals_the_loop(iterations):
    poses, matrices, _ = random_capsules()
    scale, offset = random_numbers(DIM), random_numbers(DIM, seed=2)
    fast = inverted_attention_routing(
        factored(poses, matrices),
        lambda s: functional.layer_norm(s, (DIM,), scale, offset),
        iterations=iterations,
    ).poses
    slow = []
    for image in poses:
        votes = votes_by_hand(image, matrices)
        r = [[1 / OUTPUTS] * OUTPUTS for _ in range(INPUTS)]
        p = []
        for iteration in range(iterations):
            if iteration > 0:
                for i in range(INPUTS):
                    agreement = [torch.exp((p[j] * votes[i][j]).sum() / math.sqrt(DIM)) for j in range(OUTPUTS)]
                    r[i] = [a / sum(agreement) for a in agreement]
            p = [layer_norm(sum(r[i][j] * votes[i][j] for i in range(INPUTS)), scale, offset) for j in range(OUTPUTS)]
        slow += p
    assert_same_gradients(fast.pow(3).sum(), torch.stack(slow).pow(3).sum(), [poses, matrices, scale, offset])


def test_no_iteration_is_an_error():
    poses, matrices, _ = random_capsules()
    with pytest.raises(ValueError, match="at least one iteration"):
        inverted_attention_routing(factored(poses, matrices), torch.nn.Identity(), iterations=0)
