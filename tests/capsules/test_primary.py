"""Primary capsules: each one is made of channels of one position, which most ports get wrong."""

import pytest
import torch

import paper_loops
from capsbench.capsules.primary import PrimaryCapsules
from capsbench.config_models import Squash

TYPES, DIM, KERNEL, STRIDE = 3, 4, 3, 2


def layer(scale=1.0, kind=Squash.hinton, types=TYPES, dim=DIM, kernel=KERNEL, channels=2) -> PrimaryCapsules:
    torch.manual_seed(1)
    primary = PrimaryCapsules(channels, types, dim, kernel, STRIDE, scale=scale, squash_kind=kind).double()
    torch.nn.init.normal_(primary.conv.weight)
    torch.nn.init.normal_(primary.bias)
    return primary


@pytest.mark.parametrize(
    ("scale", "kind", "slow_squash"),
    [(1.0, Squash.hinton, paper_loops.squash), (1 / 32, Squash.exponential, paper_loops.squash_exponential)],
)
def test_equals_loops_over_positions(scale, kind, slow_squash):
    primary = layer(scale, kind)
    maps = torch.randn(2, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    leaves = [maps, primary.conv.weight, primary.bias]
    images = []
    for image in maps:
        sums = paper_loops.convolve(image, primary.conv.weight, STRIDE) * scale + primary.bias[:, None, None]
        images.append(torch.stack(paper_loops.primary_capsules(sums, TYPES, DIM, slow_squash)))
    expected = torch.stack(images)
    found = primary(maps)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    fast = torch.autograd.grad((found * direction).sum(), leaves)
    slow = torch.autograd.grad((expected * direction).sum(), leaves)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other)


def test_a_field_of_the_paper_reaches_one_position_and_all_its_32_capsules():
    """A change in the top left 9x9 field that no other field covers changes the 32 capsules at position (0, 0) only."""
    primary = layer(types=32, dim=8, kernel=9, channels=1)
    maps = torch.randn(1, 1, 20, 20, dtype=torch.float64)
    changed = maps.clone()
    changed[0, 0, 0, 0] += 1
    moved = (primary(maps) != primary(changed)).any(dim=-1).view(32, 6, 6)
    assert moved[:, 0, 0].all()
    assert moved.sum() == 32


def test_index_is_type_then_row_then_column():
    """What the transformation matrices of a trained network rely on."""
    primary = layer()
    maps = torch.randn(1, 2, 9, 9, dtype=torch.float64)
    sums = primary.conv(maps) + primary.bias[:, None, None]
    poses = primary(maps)
    height = width = 4
    for kind, row, column in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (2, 3, 1)):
        expected = paper_loops.squash(sums[0, kind * DIM : (kind + 1) * DIM, row, column])
        torch.testing.assert_close(poses[0, (kind * height + row) * width + column], expected)


def test_the_released_codes_one_iteration_over_zero_logits():
    """Its primary capsules are routed once over 32 zero logits: the convolution is divided by 32, the bias is not."""
    primary = layer(scale=1 / 32)
    maps = torch.randn(1, 2, 7, 7, dtype=torch.float64)
    coupling = torch.softmax(torch.zeros(32, dtype=torch.float64), dim=0)[0]
    sums = coupling * primary.conv(maps) + primary.bias[:, None, None]
    expected = torch.stack(paper_loops.primary_capsules(sums[0], TYPES, DIM))
    torch.testing.assert_close(primary(maps)[0], expected)
