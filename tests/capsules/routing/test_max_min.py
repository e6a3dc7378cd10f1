"""Max-min routing against a loop over its procedure."""

import pytest
import torch

from capsbench.capsules.routing.max_min import max_min_routing
from capsules_by_hand import INPUTS, OUTPUTS, assert_same_gradients, factored, random_capsules, votes_by_hand
from paper_loops import squash


def loop(votes, iterations):
    coupling = [[1.0] * OUTPUTS for _ in range(INPUTS)]
    logits = [[torch.zeros((), dtype=torch.float64) for _ in range(OUTPUTS)] for _ in range(INPUTS)]
    poses = []
    for iteration in range(iterations):
        if iteration > 0:
            for i in range(INPUTS):
                low, high = min(logits[i]), max(logits[i])
                coupling[i] = [(b - low) / (high - low) for b in logits[i]]
        poses = [squash(sum(coupling[i][j] * votes[i][j] for i in range(INPUTS))) for j in range(OUTPUTS)]
        for i in range(INPUTS):
            for j in range(OUTPUTS):
                logits[i][j] = logits[i][j] + (votes[i][j] * poses[j]).sum()
    return poses


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_equals_the_loop(iterations):
    poses, matrices, _ = random_capsules()
    fast = max_min_routing(factored(poses, matrices), iterations=iterations).poses
    slow = torch.stack([v for image in poses for v in loop(votes_by_hand(image, matrices), iterations)])
    assert_same_gradients(fast.pow(3).sum(), slow.pow(3).sum(), [poses, matrices])


def test_every_input_gives_one_to_its_best_parent_and_nothing_to_its_worst():
    poses, matrices, _ = random_capsules()
    last = max_min_routing(factored(poses, matrices), iterations=3, with_coupling=True).coupling[-1]
    assert torch.equal(last.amax(dim=2), torch.ones(2, INPUTS, dtype=torch.float64))
    assert torch.equal(last.amin(dim=2), torch.zeros(2, INPUTS, dtype=torch.float64))
