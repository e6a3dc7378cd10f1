"""Convolutional capsule layers with every algorithm that is convolutional."""

import pytest
import torch

from capsbench.capsules.conv_capsules import matrix_votes, window_activations, window_poses
from capsbench.capsules.votes import StoredVotes
from capsbench.config_models import CONVOLUTIONAL, OWN_ACTIVATION, RoutingAlgorithm
from capsbench.models.matrix_capsnet import ConvolutionalCapsules
from capsbench.models.matrix_routing import MatrixRouting

BATCH, TYPES, PARENTS, SIDE, SIZE = 2, 3, 4, 2, 4
DIM = SIDE**2


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def layer(algorithm, size, kernel, stride) -> ConvolutionalCapsules:
    """In double precision, with nothing at its neutral initial value."""
    torch.manual_seed(3)
    routing = MatrixRouting(algorithm, TYPES * kernel**2, PARENTS, DIM, 3, for_classes=False)
    made = ConvolutionalCapsules(TYPES, PARENTS, size, SIDE, kernel, stride, routing).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.7)
    return made.eval()


def maps(size=SIZE):
    return random(BATCH, TYPES, DIM, size, size), random(BATCH, TYPES, size, size).sigmoid()


@pytest.mark.parametrize("algorithm", CONVOLUTIONAL)
def test_windows_that_share_no_capsule_are_routed_as_alone(algorithm):
    whole, window = layer(algorithm, SIZE, 2, 2), layer(algorithm, 2, 2, 2)
    window.load_state_dict(whole.state_dict())
    poses, activations = maps()
    found_poses, found = whole(poses, activations)
    assert found_poses.shape == (BATCH, PARENTS, DIM, 2, 2)
    assert ((found > 0) & (found < 1)).all()
    for row in range(2):
        for column in range(2):
            rows, columns = slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)
            alone_poses, alone = window(poses[..., rows, columns], activations[..., rows, columns])
            torch.testing.assert_close(found_poses[..., row, column], alone_poses[..., 0, 0])
            torch.testing.assert_close(found[..., row, column], alone[..., 0, 0])


@pytest.mark.parametrize("algorithm", CONVOLUTIONAL)
def test_the_same_window_elsewhere_gives_the_same_parents(algorithm):
    """Weights are shared over positions; EM and variational Bayes also share out a capsule between overlapping windows,
    so all windows are equal here."""
    poses, activations = maps(1)
    made = layer(algorithm, SIZE, 2, 2)
    found_poses, found = made(poses.expand(-1, -1, -1, SIZE, SIZE), activations.expand(-1, -1, SIZE, SIZE))
    torch.testing.assert_close(found_poses, found_poses[..., :1, :1].expand_as(found_poses))
    torch.testing.assert_close(found, found[..., :1, :1].expand_as(found))


def test_self_routing_follows_its_equations_in_every_window():
    """r_ij = softmax_j(W_i u_i + b_i), a_j = sum_i r_ij a_i / sum_i a_i; every capsule of a window has its own W."""
    made = layer(RoutingAlgorithm.self_routing, SIZE, 3, 1)
    poses, activations = maps()
    windows, seen = window_poses(poses, 3, 1), window_activations(activations, 3, 1)
    _, found = made(poses, activations)
    for number in (0, 5):
        batch, position = divmod(number, 4)
        row, column = divmod(position, 2)
        total = torch.zeros(PARENTS, dtype=torch.float64)
        for i in range(TYPES * 9):
            weights = made.routing.route_weights_TEJ[i]
            logits = [
                sum(windows[number, i, e] * weights[e, j] for e in range(DIM)) + made.routing.route_bias_TJ[i, j]
                for j in range(PARENTS)
            ]
            share = [torch.exp(x) / sum(torch.exp(y) for y in logits) for x in logits]
            total = total + seen[number, i] * torch.stack(share)
        torch.testing.assert_close(found[batch, :, row, column], total / seen[number].sum())


def test_for_the_classes_self_routing_shares_its_matrices_over_positions():
    routing = MatrixRouting(RoutingAlgorithm.self_routing, TYPES, PARENTS, DIM, 3, for_classes=True).double().eval()
    with torch.no_grad():
        for parameter in routing.parameters():
            parameter.normal_()
    positions = 5
    poses = random(BATCH * positions, TYPES, DIM)
    votes = matrix_votes(poses, random(TYPES, PARENTS, SIDE, SIDE)).stored().view(BATCH, -1, PARENTS, DIM)
    activations = random(BATCH, positions * TYPES).sigmoid()
    routed = routing(StoredVotes(votes), poses, activations, lambda log: log, with_coupling=True)
    coupling = routed.coupling[0].view(BATCH, positions, TYPES, PARENTS)
    logits = torch.einsum("te,tej->tj", poses[positions + 3], routing.route_weights_TEJ) + routing.route_bias_TJ
    torch.testing.assert_close(coupling[1, 3], logits.softmax(dim=1))


@pytest.mark.parametrize("algorithm", [one for one in CONVOLUTIONAL if one not in OWN_ACTIVATION])
def test_squashed_algorithms_answer_with_lengths(algorithm):
    poses, activations = layer(algorithm, SIZE, 2, 2)(*maps())
    torch.testing.assert_close(activations, torch.linalg.vector_norm(poses, dim=2))
