"""Decoders that rebuild an image from one class capsule (Sabour et al. 2017, section 4.1 and figure 2).

Letters: B batch, J classes, E pose dimensions.
"""

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench.capsules.squash import at_least_fp32
from capsbench.config_models import DecoderKind, DecoderMask


def mask_poses(
    poses_BJE: Float[Tensor, "batch classes dim"], chosen_B: Int[Tensor, " batch"]
) -> Float[Tensor, "batch flat"]:
    """All class poses flattened, with every capsule but the chosen one set to zero."""
    mask_BJ = nn.functional.one_hot(chosen_B, poses_BJE.shape[1]).to(poses_BJE.dtype)
    return (poses_BJE * mask_BJ[:, :, None]).flatten(1)


def pick_poses(
    poses_BJE: Float[Tensor, "batch classes dim"], chosen_B: Int[Tensor, " batch"]
) -> Float[Tensor, "batch dim"]:
    """The chosen capsule's pose alone, so that the decoder is not told its class (Rajasegaran et al. 2019)."""
    mask_BJ = nn.functional.one_hot(chosen_B, poses_BJE.shape[1]).to(poses_BJE.dtype)
    return (poses_BJE * mask_BJ[:, :, None]).sum(dim=1)


class Decoder(nn.Module):
    """From class poses and the class to rebuild to pixels in [0, 1].

    Args:
        classes: J.
        dim: E.
        hidden: units of the hidden layers of a `dense` decoder.
        image_shape: channels, height and width.
        kind: `dense` (ReLU layers, Sabour et al. 2017) or `deconvolution`.
        mask: whether the layers see the poses of all classes, the others zeroed, or one pose alone.
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        hidden: list[int],
        image_shape: tuple[int, int, int],
        kind: DecoderKind = DecoderKind.dense,
        mask: DecoderMask = DecoderMask.class_conditional,
    ) -> None:
        super().__init__()
        self.image_shape, self.mask = image_shape, mask
        inputs = dim if mask is DecoderMask.independent else classes * dim
        self.layers = (
            dense_layers([inputs, *hidden, image_shape[0] * image_shape[1] * image_shape[2]])
            if kind is DecoderKind.dense
            else deconvolution_layers(inputs, image_shape)
        )

    def forward(
        self, poses_BJE: Float[Tensor, "batch classes dim"], chosen_B: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Image rebuilt from the pose of the chosen class alone."""
        seen = (pick_poses if self.mask is DecoderMask.independent else mask_poses)(poses_BJE, chosen_B)
        pixels = torch.sigmoid(at_least_fp32(self.layers(seen)))
        _, height, width = self.image_shape
        if pixels.dim() == 4:
            return pixels[:, :, :height, :width]
        return pixels.view(-1, *self.image_shape)


def dense_layers(widths: list[int]) -> nn.Sequential:
    """Fully connected layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def deconvolution_layers(inputs: int, image_shape: tuple[int, int, int]) -> nn.Sequential:
    """DeepCaps' decoder for 28x28 images (brjathu/deepcaps, `DeepCapsNet28`), for images of any size.

    A quarter of the image's size in 16 channels from one dense layer, batch normalisation, then transposed 3x3
    convolutions of 64, 32 (stride 2), 16 (stride 2) channels and the image's; the caller crops what sizes that four
    does not divide have too much. There is no non-linearity between the convolutions there either, and a sigmoid
    follows the last one here instead of a ReLU.
    """
    channels, height, width = image_shape
    rows, columns = -(-height // 4), -(-width // 4)
    layers: list[nn.Module] = [
        nn.Linear(inputs, 16 * rows * columns),
        nn.ReLU(),
        nn.Unflatten(1, (16, rows, columns)),
        nn.BatchNorm2d(16, momentum=0.2),
    ]
    for before, after, stride in ((16, 64, 1), (64, 32, 2), (32, 16, 2), (16, channels, 1)):
        layers.append(nn.ConvTranspose2d(before, after, 3, stride, padding=1, output_padding=stride - 1))
    return nn.Sequential(*layers)
