"""Self-attention routing against a loop over equations 6 to 9 of Mazzia et al. 2021."""

import math

import torch

from capsbench.capsules.routing.self_attention import self_attention_routing
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
from paper_loops import squash_exponential


def test_equals_the_loop():
    poses, matrices, _ = random_capsules()
    offset = random_numbers(OUTPUTS, INPUTS)
    fast = self_attention_routing(factored(poses, matrices), offset).poses
    slow = []
    for image in poses:
        u = votes_by_hand(image, matrices)
        c = []
        for i in range(INPUTS):
            scores = [sum((u[i][j] * u[k][j]).sum() for k in range(INPUTS)) / math.sqrt(DIM) for j in range(OUTPUTS)]
            total = sum(torch.exp(s) for s in scores)
            c.append([torch.exp(s) / total + offset[j, i] for j, s in enumerate(scores)])
        slow += [squash_exponential(sum(c[i][j] * u[i][j] for i in range(INPUTS))) for j in range(OUTPUTS)]
    assert_same_gradients(fast.pow(3).sum(), torch.stack(slow).pow(3).sum(), [poses, matrices, offset])


def test_without_an_offset_coupling_sums_to_one_over_parents():
    poses, matrices, _ = random_capsules()
    zero = torch.zeros(OUTPUTS, INPUTS, dtype=torch.float64)
    coupling = self_attention_routing(factored(poses, matrices), zero, with_coupling=True).coupling
    torch.testing.assert_close(coupling.sum(dim=3), torch.ones(1, 2, INPUTS, dtype=torch.float64))
