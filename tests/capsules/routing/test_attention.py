"""Attention over inputs against a loop over the equations of Choi et al. 2019."""

import torch

from capsbench.capsules.routing.attention import attention_routing
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


def test_equals_the_loop():
    poses, matrices, _ = random_capsules()
    attention = random_numbers(OUTPUTS, INPUTS, DIM, INPUTS)
    mapping, bias = random_numbers(OUTPUTS, DIM, DIM, seed=2), random_numbers(OUTPUTS, DIM, seed=3)
    fast = attention_routing(factored(poses, matrices), attention, mapping, bias)
    slow, lengths = [], []
    for image in poses:
        u = votes_by_hand(image, matrices)
        for j in range(OUTPUTS):
            scores = [
                sum(attention[j, s, e, t] * u[s][j][e] for s in range(INPUTS) for e in range(DIM))
                for t in range(INPUTS)
            ]
            alpha = [torch.exp(s) / sum(torch.exp(x) for x in scores) for s in scores]
            s = sum(alpha[t] * u[t][j] for t in range(INPUTS))
            mapped = torch.stack([sum(s[e] * mapping[j, e, f] for e in range(DIM)) for f in range(DIM)])
            slow.append(torch.tanh(mapped + bias[j]))
            lengths.append(torch.sqrt(sum(slow[-1] ** 2)) / DIM**0.5)
    torch.testing.assert_close(fast.activations.flatten(), torch.stack(lengths))
    together, apart = fast.poses.pow(3).sum(), torch.stack(slow).pow(3).sum()
    assert_same_gradients(together, apart, [poses, matrices, attention, mapping, bias])


def test_coupling_sums_to_one_over_inputs():
    poses, matrices, _ = random_capsules()
    attention, mapping = random_numbers(OUTPUTS, INPUTS, DIM, INPUTS), random_numbers(OUTPUTS, DIM, DIM)
    coupling = attention_routing(factored(poses, matrices), attention, mapping, with_coupling=True).coupling
    torch.testing.assert_close(coupling.sum(dim=2), torch.ones(1, 2, OUTPUTS, dtype=torch.float64))
