"""Fixed random coupling against its equation."""

import torch

from capsbench.capsules.routing.random_fixed import draw_coupling, random_fixed_routing
from capsules_by_hand import INPUTS, OUTPUTS, assert_same_gradients, factored, random_capsules, votes_by_hand
from paper_loops import squash


def test_equals_the_loop():
    poses, matrices, _ = random_capsules()
    coupling = draw_coupling(INPUTS, OUTPUTS).double()
    fast = random_fixed_routing(factored(poses, matrices), coupling).poses
    slow = []
    for image in poses:
        votes = votes_by_hand(image, matrices)
        slow += [squash(sum(coupling[j, i] * votes[i][j] for i in range(INPUTS))) for j in range(OUTPUTS)]
    assert_same_gradients(fast.pow(3).sum(), torch.stack(slow).pow(3).sum(), [poses, matrices])


def test_coupling_is_a_distribution_over_parents_that_the_seed_decides():
    torch.manual_seed(3)
    first = draw_coupling(200, 10)
    torch.testing.assert_close(first.sum(dim=0), torch.ones(200))
    assert first.std() > 0.05
    assert not torch.equal(first, draw_coupling(200, 10))
    torch.manual_seed(3)
    assert torch.equal(first, draw_coupling(200, 10))


def test_every_image_has_the_same_coupling():
    poses, matrices, _ = random_capsules()
    coupling = draw_coupling(INPUTS, OUTPUTS).double()
    routed = random_fixed_routing(factored(poses, matrices), coupling, with_coupling=True)
    assert torch.equal(routed.coupling[0, 0], routed.coupling[0, 1])
    assert torch.equal(routed.coupling[0, 0], coupling.t())
