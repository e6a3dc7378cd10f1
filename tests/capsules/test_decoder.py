"""The decoder sees one class capsule and nothing else."""

import pytest
import torch

import paper_loops
from capsbench.capsules.decoder import Decoder, mask_poses

CLASSES, DIM, SHAPE = 4, 3, (1, 3, 2)


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(CLASSES, DIM, [5, 6], SHAPE).double()


def test_equals_loops(decoder):
    poses_BJE = torch.randn(2, CLASSES, DIM, dtype=torch.float64, requires_grad=True)
    layers = [(x.weight, x.bias) for x in decoder.layers if isinstance(x, torch.nn.Linear)]
    labels = [2, 0]
    expected = torch.stack(
        [paper_loops.decode(list(poses), label, layers) for poses, label in zip(poses_BJE, labels, strict=True)]
    ).view(2, *SHAPE)
    found = decoder(poses_BJE, torch.tensor(labels))
    torch.testing.assert_close(found, expected)
    leaves = [poses_BJE, *decoder.parameters()]
    direction = torch.randn_like(found)
    fast = torch.autograd.grad((found * direction).sum(), leaves)
    slow = torch.autograd.grad((expected * direction).sum(), leaves)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other)


def test_changes_in_masked_capsules_change_nothing(decoder):
    """The released code's test of the mask: other capsules may be anything."""
    poses = torch.randn(2, CLASSES, DIM, dtype=torch.float64)
    chosen = torch.tensor([1, 3])
    others = poses.clone()
    for image, kept in enumerate(chosen):
        others[image, torch.arange(CLASSES) != kept] = 1e3 * torch.randn(CLASSES - 1, DIM, dtype=torch.float64)
    assert torch.equal(decoder(poses, chosen), decoder(others, chosen))
    moved = poses.clone()
    moved[0, 1] += 0.1
    changed = (decoder(moved, chosen) != decoder(poses, chosen)).flatten(1)
    assert changed.any(dim=1).tolist() == [True, False]


def test_the_same_pose_in_another_place_is_another_class():
    poses = torch.ones(2, 3, 2)
    masked = mask_poses(poses, torch.tensor([0, 2]))
    assert masked.tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1]]


def test_gradient_reaches_the_chosen_capsule_only(decoder):
    poses = torch.randn(1, CLASSES, DIM, dtype=torch.float64, requires_grad=True)
    decoder(poses, torch.tensor([2])).sum().backward()
    assert [bool(row.any()) for row in poses.grad[0]] == [False, False, True, False]


def test_pixels_are_probabilities_in_single_precision(decoder):
    with torch.autocast("cpu", torch.bfloat16):
        pixels = decoder.float()(torch.randn(2, CLASSES, DIM), torch.tensor([0, 1]))
    assert pixels.dtype is torch.float32
    assert pixels.shape == (2, *SHAPE)
    assert ((pixels > 0) & (pixels < 1)).all()
