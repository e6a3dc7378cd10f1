"""The decoder that rebuilds an image from one class capsule (Sabour et al. 2017, section 4.1 and figure 2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench.capsules.squash import at_least_fp32


def mask_poses(
    poses_BJE: Float[Tensor, "batch classes dim"], chosen_B: Int[Tensor, " batch"]
) -> Float[Tensor, "batch flat"]:
    """All class poses flattened, with every capsule but the chosen one set to zero."""
    mask_BJ = nn.functional.one_hot(chosen_B, poses_BJE.shape[1]).to(poses_BJE.dtype)
    return (poses_BJE * mask_BJ[:, :, None]).flatten(1)


class Decoder(nn.Module):
    """Fully connected layers with ReLU and a sigmoid at the end, from masked class poses to pixels in [0, 1]."""

    def __init__(self, classes: int, dim: int, hidden: list[int], image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape
        widths = [classes * dim, *hidden, image_shape[0] * image_shape[1] * image_shape[2]]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths[:-2], widths[1:-1], strict=True):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(
        self, poses_BJE: Float[Tensor, "batch classes dim"], chosen_B: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Image rebuilt from the pose of the chosen class alone."""
        pixels = torch.sigmoid(at_least_fp32(self.layers(mask_poses(poses_BJE, chosen_B))))
        return pixels.view(-1, *self.image_shape)
