"""Dynamic routing against procedure 1 of the paper, and what the released code's own tests ask of it."""

import pytest
import torch

import paper_loops
from capsbench.capsules.routing.dynamic import coupling_coefficients, dynamic_routing
from capsbench.capsules.votes import FactoredVotes, StoredVotes
from capsbench.config_models import RoutingGradient, Squash

BATCH, INPUTS, OUTPUTS, D, E = 2, 4, 3, 3, 4
SLOW_SQUASH = {Squash.hinton: paper_loops.squash, Squash.exponential: paper_loops.squash_exponential}


@pytest.fixture
def leaves():
    """Input poses, transformation matrices and bias, large enough for routing to matter."""
    torch.manual_seed(3)
    shapes = ((BATCH, INPUTS, D), (OUTPUTS, D, INPUTS, E), (OUTPUTS, E))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def slow(leaves, iterations, bias, **how):
    poses_BID, transforms_JDIE, bias_JE = leaves
    routed = [
        paper_loops.route(
            paper_loops.cast_votes(list(poses), transforms_JDIE), bias_JE if bias else None, iterations, **how
        )
        for poses in poses_BID
    ]
    poses = torch.stack([torch.stack(one.poses) for one in routed])
    coupling = torch.tensor([[one.coupling[r] for one in routed] for r in range(iterations)], dtype=torch.float64)
    return poses, coupling


def votes_of(form, poses_BID, transforms_JDIE):
    factored = FactoredVotes(poses_BID, transforms_JDIE)
    return factored if form == "factored" else StoredVotes(factored.stored())


@pytest.mark.parametrize("form", ["factored", "stored"])
@pytest.mark.parametrize("gradient", list(RoutingGradient))
@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_equals_procedure_1(leaves, iterations, leaky, gradient, form):
    """Poses, lengths, coupling and all gradients, with the released code's bias."""
    check(leaves, iterations, True, leaky, gradient, form, Squash.hinton)


@pytest.mark.parametrize(("bias", "kind"), [(False, Squash.hinton), (True, Squash.exponential)])
@pytest.mark.parametrize("gradient", list(RoutingGradient))
def test_equals_procedure_1_without_bias_and_with_the_other_squash(leaves, bias, kind, gradient):
    check(leaves, 3, bias, False, gradient, "factored", kind)


def check(leaves, iterations, bias, leaky, gradient, form, kind):
    detach = gradient is RoutingGradient.detach
    expected, coupling = slow(leaves, iterations, bias, leaky=leaky, detach=detach, squash=SLOW_SQUASH[kind])
    poses_BID, transforms_JDIE, bias_JE = leaves
    routed = dynamic_routing(
        votes_of(form, poses_BID, transforms_JDIE),
        bias_JE if bias else None,
        iterations=iterations,
        gradient=gradient,
        leaky=leaky,
        squash_kind=kind,
        with_coupling=True,
    )
    torch.testing.assert_close(routed.poses, expected)
    torch.testing.assert_close(routed.activations, torch.linalg.vector_norm(expected, dim=-1))
    torch.testing.assert_close(routed.coupling, coupling)
    direction = torch.randn_like(expected)
    used = leaves if bias else leaves[:2]
    fast = torch.autograd.grad((routed.poses * direction).sum(), used)
    reference = torch.autograd.grad((expected * direction).sum(), used)
    for one, other in zip(fast, reference, strict=True):
        torch.testing.assert_close(one, other)


def test_the_two_gradients_differ_but_not_the_poses(leaves):
    poses_BID, transforms_JDIE, bias_JE = leaves
    found = {}
    for gradient in RoutingGradient:
        routed = dynamic_routing(FactoredVotes(poses_BID, transforms_JDIE), bias_JE, iterations=3, gradient=gradient)
        found[gradient] = (routed.poses, torch.autograd.grad(routed.poses.sum(), leaves))
    torch.testing.assert_close(found["unroll"][0], found["detach"][0], rtol=0, atol=0)
    for unrolled, detached in zip(found["unroll"][1], found["detach"][1], strict=True):
        assert not torch.allclose(unrolled, detached)


@pytest.mark.parametrize("leaky", [False, True])
def test_one_iteration_is_the_uniform_average(leaves, leaky):
    poses_BID, transforms_JDIE, _ = leaves
    votes = FactoredVotes(poses_BID, transforms_JDIE)
    parents = OUTPUTS + 1 if leaky else OUTPUTS
    average = votes.stored().sum(dim=1) / parents
    expected = torch.stack([torch.stack([paper_loops.squash(s) for s in image]) for image in average])
    routed = dynamic_routing(votes, iterations=1, leaky=leaky, with_coupling=True)
    torch.testing.assert_close(routed.poses, expected)
    torch.testing.assert_close(routed.coupling, torch.full_like(routed.coupling, 1 / parents))


def test_one_iteration_differs_from_thirty(leaves):
    """The released code's test of routing: the same again for one iteration, something else for thirty."""
    poses_BID, transforms_JDIE, bias_JE = leaves
    votes = FactoredVotes(poses_BID, transforms_JDIE)
    once, again, thirty = (dynamic_routing(votes, bias_JE, iterations=n).poses for n in (1, 1, 30))
    assert torch.equal(once, again)
    assert (once - thirty).abs().max() > 0.05


def test_coupling_is_a_softmax_over_parents():
    """Not over the input capsules, the commonest error of ports: parents share what a capsule gives away."""
    logits_JBI = torch.randn(5, 2, 7) * 3
    coupling = coupling_coefficients(logits_JBI, leaky=False)
    torch.testing.assert_close(coupling.sum(dim=0), torch.ones(2, 7))
    assert (coupling.sum(dim=2) - 1).abs().max() > 0.1
    torch.testing.assert_close(coupling[2, 1, 3], logits_JBI[2, 1, 3].exp() / logits_JBI[:, 1, 3].exp().sum())


def test_leaky_coupling_sums_to_less_than_one():
    """The released code's test of leaky routing; at equal logits each of ten parents gets 1/11."""
    torch.testing.assert_close(coupling_coefficients(torch.zeros(10, 2, 3), leaky=True), torch.full((10, 2, 3), 1 / 11))
    logits_JBI = torch.randn(10, 2, 3)
    coupling = coupling_coefficients(logits_JBI, leaky=True)
    assert (coupling.sum(dim=0) < 1).all()
    torch.testing.assert_close(coupling, logits_JBI.exp() / (1 + logits_JBI.exp().sum(dim=0)))


def test_every_image_is_routed_alone(leaves):
    """Routing logits belong to one image: ports that share them over a batch make predictions depend on neighbours."""
    poses_BID, transforms_JDIE, bias_JE = leaves
    together = dynamic_routing(FactoredVotes(poses_BID, transforms_JDIE), bias_JE).poses
    alone = [dynamic_routing(FactoredVotes(one[None], transforms_JDIE), bias_JE).poses[0] for one in poses_BID]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-13, atol=1e-13)


def test_the_order_of_input_capsules_does_not_matter(leaves):
    poses_BID, transforms_JDIE, bias_JE = leaves
    order = torch.randperm(INPUTS)
    one = dynamic_routing(FactoredVotes(poses_BID, transforms_JDIE), bias_JE).poses
    other = dynamic_routing(FactoredVotes(poses_BID[:, order], transforms_JDIE[:, :, order]), bias_JE).poses
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_routing_gathers_behind_the_parent_that_votes_agree_on():
    """All capsules vote alike for parent 0 and against each other for parent 1."""
    votes_BIJE = torch.zeros(1, 4, 2, 2)
    votes_BIJE[0, :, 0] = torch.tensor([1.0, 0.0])
    votes_BIJE[0, :2, 1], votes_BIJE[0, 2:, 1] = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    routed = dynamic_routing(StoredVotes(votes_BIJE), iterations=5, with_coupling=True)
    shares = routed.coupling[:, 0, 0, 0]
    assert (shares.diff() > 0).all()
    assert routed.activations[0, 0] > 0.75
    assert routed.activations[0, 1] < 1e-6


def test_no_iteration_is_an_error(leaves):
    with pytest.raises(ValueError, match="at least one iteration, not 0"):
        dynamic_routing(FactoredVotes(leaves[0], leaves[1]), iterations=0)


def test_autocast_bf16_is_close_to_single_precision(leaves):
    poses_BID, transforms_JDIE, bias_JE = (leaf.detach().float() for leaf in leaves)
    exact = dynamic_routing(FactoredVotes(poses_BID, transforms_JDIE), bias_JE)
    with torch.autocast("cpu", torch.bfloat16):
        rough = dynamic_routing(FactoredVotes(poses_BID, transforms_JDIE), bias_JE)
    assert rough.poses.dtype is torch.float32
    torch.testing.assert_close(rough.poses, exact.poses, rtol=0, atol=0.02)
