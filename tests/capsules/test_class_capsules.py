"""What every routing algorithm must keep to as the class layer of a network, whatever its equations."""

import math

import pytest
import torch

from capsbench.capsules.class_capsules import ClassCapsules
from capsbench.capsules.squash import squash_hinton
from capsbench.config_models import Routing, RoutingAlgorithm, Squash, TransformSharing

TYPES, POSITIONS, IN_DIM, CLASSES, DIM = 3, 4, 4, 5, 6
INPUTS = TYPES * POSITIONS
EVERY = list(RoutingAlgorithm)
ROUTED = [one for one in EVERY if one is not RoutingAlgorithm.homogeneous]
ITERATIVE = ("dynamic", "max_min", "em", "variational_bayes", "inverted_attention")
OVER_CLASSES = (
    "dynamic",
    "uniform",
    "random_fixed",
    "shared",
    "em",
    "variational_bayes",
    "self_routing",
    "inverted_attention",
)


def layer(algorithm, iterations=3, **more):
    """A layer in double precision with nothing at its neutral initial value."""
    torch.manual_seed(5)
    made = ClassCapsules(
        Routing(algorithm=algorithm, iterations=iterations),
        types=TYPES,
        positions=POSITIONS,
        in_dim=IN_DIM,
        classes=CLASSES,
        dim=DIM,
        **more,
    ).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.7)
    return made.eval()


def poses(batch=3, scale=1.0):
    draw = torch.Generator().manual_seed(7)
    return squash_hinton(scale * torch.randn(batch, INPUTS, IN_DIM, generator=draw, dtype=torch.float64))


@pytest.mark.parametrize("algorithm", EVERY)
def test_shapes(algorithm):
    routed = layer(algorithm)(poses(), with_coupling=True)
    dim = IN_DIM if algorithm is RoutingAlgorithm.homogeneous else DIM
    assert routed.poses.shape == (3, CLASSES, dim)
    assert routed.activations.shape == (3, CLASSES)
    if algorithm is RoutingAlgorithm.homogeneous:
        assert routed.coupling is None
    else:
        rounds = 3 if algorithm in ITERATIVE else 1
        assert routed.coupling.shape == (rounds, 3, INPUTS, CLASSES)
    assert layer(algorithm)(poses()).coupling is None


@pytest.mark.parametrize("algorithm", OVER_CLASSES)
def test_coupling_of_an_input_sums_to_one_over_classes(algorithm):
    coupling = layer(RoutingAlgorithm(algorithm))(poses(), with_coupling=True).coupling
    torch.testing.assert_close(coupling.sum(dim=3), torch.ones(coupling.shape[:3], dtype=torch.float64))


def test_attention_sums_to_one_over_types_at_every_position():
    coupling = layer(RoutingAlgorithm.attention)(poses(), with_coupling=True).coupling
    by_type = coupling.view(1, 3, TYPES, POSITIONS, CLASSES)
    torch.testing.assert_close(by_type.sum(dim=2), torch.ones(1, 3, POSITIONS, CLASSES, dtype=torch.float64))


@pytest.mark.parametrize("algorithm", ITERATIVE)
def test_the_first_iteration_treats_all_classes_alike(algorithm):
    coupling = layer(RoutingAlgorithm(algorithm), iterations=1)(poses(), with_coupling=True).coupling
    assert torch.equal(coupling, coupling[:1, :1, :1, :1].expand_as(coupling))


@pytest.mark.parametrize("algorithm", EVERY)
def test_an_image_in_a_batch_is_answered_as_alone(algorithm):
    made = layer(algorithm)
    together, alone = made(poses()), made(poses()[1:2])
    torch.testing.assert_close(together.poses[1:2], alone.poses)
    torch.testing.assert_close(together.activations[1:2], alone.activations)


@pytest.mark.parametrize("algorithm", EVERY)
def test_the_order_of_input_capsules_does_not_matter(algorithm):
    """With what belongs to an input permuted too; for attention, whose capsules have types, within a type."""
    made = layer(algorithm, transforms=TransformSharing.single)
    order = torch.randperm(INPUTS, generator=torch.Generator().manual_seed(1))
    if algorithm is RoutingAlgorithm.attention:
        order = torch.cat([torch.arange(POSITIONS).flip(0) + start for start in range(0, INPUTS, POSITIONS)])
    before = made(poses())
    with torch.no_grad():
        for name, axis in (("coupling_JI", 1), ("offset_JI", 1), ("route_weights_IDJ", 0), ("route_bias_IJ", 0)):
            if hasattr(made, name):
                getattr(made, name).copy_(getattr(made, name).index_select(axis, order))
    after = made(poses()[:, order])
    torch.testing.assert_close(before.poses, after.poses)
    torch.testing.assert_close(before.activations, after.activations)


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6])
def test_gradients_are_finite_for_empty_and_for_saturated_capsules(algorithm, scale):
    made = layer(algorithm).train().float()
    seen = poses(scale=scale).float().requires_grad_()
    routed = made(seen)
    (routed.poses.square().sum() + routed.activations.square().sum()).backward()
    assert torch.isfinite(seen.grad).all()
    for name, parameter in made.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("algorithm", EVERY)
def test_autocast_bf16_is_close_to_single_precision(algorithm):
    made = layer(algorithm).float()
    exact = made(poses().float())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(poses().float())
    scale = exact.poses.abs().max()
    assert (exact.poses - rounded.poses.float()).abs().max() < 0.06 * scale
    assert (exact.activations - rounded.activations.float()).abs().max() < 0.06 * exact.activations.abs().max()


@pytest.mark.parametrize("algorithm", EVERY)
def test_saved_weights_come_back(algorithm):
    made = layer(algorithm)
    torch.manual_seed(99)
    other = ClassCapsules(
        made.routing, types=TYPES, positions=POSITIONS, in_dim=IN_DIM, classes=CLASSES, dim=DIM
    ).double()
    other.load_state_dict(made.state_dict())
    assert torch.equal(made(poses()).poses, other.eval()(poses()).poses)


@pytest.mark.parametrize(
    ("sharing", "count"),
    [(TransformSharing.per_pair, INPUTS), (TransformSharing.per_type, TYPES), (TransformSharing.single, 1)],
)
def test_sharing_repeats_matrices_over_positions_or_over_all(sharing, count):
    made = layer(RoutingAlgorithm.dynamic, transforms=sharing)
    assert made.transforms_JDIE.shape == (CLASSES, IN_DIM, count, DIM)
    expanded = made.expanded_transforms()
    assert expanded.shape == (CLASSES, IN_DIM, INPUTS, DIM)
    for i in range(INPUTS):
        own = {INPUTS: i, TYPES: i // POSITIONS, 1: 0}[count]
        assert torch.equal(expanded[:, :, i], made.transforms_JDIE[:, :, own])


def test_without_matrices_votes_are_the_poses():
    made = layer(RoutingAlgorithm.random_fixed, transforms=TransformSharing.none)
    assert made.transforms_JDIE is None
    votes = made.votes(poses()).stored()
    assert torch.equal(votes, poses()[:, :, None, :].expand(-1, -1, CLASSES, -1))


def test_attention_votes_are_summed_over_positions():
    made = layer(RoutingAlgorithm.attention)
    seen = poses()
    expected = torch.einsum("bid,jdie->bije", seen, made.transforms_JDIE)
    expected = expected.view(3, TYPES, POSITIONS, CLASSES, DIM).sum(dim=2) + made.vote_bias_TJE
    torch.testing.assert_close(made.votes_of_types(seen).stored(), expected)


def test_self_routing_has_matrices_only_where_poses_are_used():
    assert layer(RoutingAlgorithm.self_routing).transforms_JDIE is not None
    assert layer(RoutingAlgorithm.self_routing, poses_used=False).transforms_JDIE is None


def test_self_routing_starts_uniform():
    made = ClassCapsules(
        Routing(algorithm=RoutingAlgorithm.self_routing),
        types=TYPES,
        positions=POSITIONS,
        in_dim=IN_DIM,
        classes=CLASSES,
        dim=DIM,
    ).double()
    torch.nn.init.normal_(made.transforms_JDIE)
    torch.testing.assert_close(made(poses()).activations, torch.full((3, CLASSES), 1 / CLASSES, dtype=torch.float64))


def test_layer_normalised_poses_are_read_out_by_a_linear_map():
    made = layer(RoutingAlgorithm.dynamic, squash_kind=Squash.layer_norm)
    routed = made(poses())
    lengths = torch.linalg.vector_norm(routed.poses, dim=-1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, math.sqrt(DIM)), rtol=1e-3, atol=0)
    torch.testing.assert_close(routed.activations, made.read_out(routed.poses)[..., 0])


def test_learned_activations_take_the_place_of_lengths():
    made = layer(RoutingAlgorithm.em)
    lengths = torch.linalg.vector_norm(poses(), dim=-1)
    torch.testing.assert_close(made(poses()).poses, made(poses(), lengths).poses)
    assert not torch.allclose(made(poses()).poses, made(poses(), lengths.flip(1)).poses)


def test_tanh_activations_stay_below_one():
    routed = layer(RoutingAlgorithm.uniform, squash_kind=Squash.tanh)(50 * poses())
    assert routed.activations.max() <= 1
    assert routed.activations.max() > 0.9
