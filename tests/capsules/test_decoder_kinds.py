"""The deconvolution decoder and the class-independent mask."""

import pytest
import torch

from capsbench.capsules.decoder import Decoder, pick_poses
from capsbench.config_models import DecoderKind, DecoderMask


@pytest.mark.parametrize("size", [28, 30, 33])
def test_deconvolution_gives_images_of_any_size(size):
    torch.manual_seed(0)
    decoder = Decoder(10, 6, [], (3, size, size), DecoderKind.deconvolution, DecoderMask.class_conditional)
    pixels = decoder(torch.randn(2, 10, 6), torch.tensor([1, 4]))
    assert pixels.shape == (2, 3, size, size)
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_an_independent_mask_hides_the_class():
    poses = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pick_poses(poses, torch.tensor([3, 0])), torch.stack([poses[0, 3], poses[1, 0]]))
    torch.manual_seed(0)
    decoder = Decoder(5, 4, [8], (1, 6, 6), DecoderKind.dense, DecoderMask.independent)
    same = poses[:1].expand(1, -1, -1).clone()
    same[0, 2] = same[0, 1]
    torch.testing.assert_close(decoder(same, torch.tensor([1])), decoder(same, torch.tensor([2])))
