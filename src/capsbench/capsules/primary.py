"""Primary capsules: a convolution whose channels at one position are the poses of that position's capsules.

Letters: B batch, T capsule types, D pose dimensions, P positions (height * width), I = T * P input capsules.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from capsbench.capsules.convolution import Convolution
from capsbench.capsules.squash import squash
from capsbench.config_models import Squash

Padding = tuple[int, int]


class PrimaryCapsules(nn.Module):
    """Convolutional capsules without routing (Sabour et al. 2017, section 4).

    A capsule's pose is made of channels of one position; grouping neighbouring pixels of one channel instead is the
    commonest error of ports. The released code reaches the same layer as one routing iteration over a softmax of zeros,
    which divides the convolution by the number of types before the bias is added: `scale`.

    Args:
        in_channels: channels of the maps.
        types: capsules at each position.
        dim: dimensions of a pose.
        kernel: of the convolution.
        stride: of the convolution.
        scale: factor on the convolution.
        squash_kind: squashing function.
        padding: zeros before and after the rows, and the columns, of the maps.
    """

    def __init__(
        self,
        in_channels: int,
        types: int,
        dim: int,
        kernel: int,
        stride: int,
        *,
        scale: float,
        squash_kind: Squash,
        padding: Padding = (0, 0),
    ) -> None:
        super().__init__()
        self.types, self.dim, self.scale, self.squash_kind, self.padding = types, dim, scale, squash_kind, padding
        self.conv = Convolution(in_channels, types * dim, kernel, stride, bias=False)
        self.bias = nn.Parameter(torch.zeros(types * dim))

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch in_caps dim"]:
        """Squashed poses; capsule index = (type * height + row) * width + column.

        In memory the capsule index runs fastest, which is how votes want it.
        """
        if any(self.padding):
            maps = functional.pad(maps, [*self.padding, *self.padding])
        sums = self.conv(maps) * self.scale + self.bias[:, None, None]
        poses_BTDP = sums.flatten(2).unflatten(1, (self.types, self.dim))
        poses_BDI = poses_BTDP.transpose(1, 2).flatten(2)
        return squash(poses_BDI, self.squash_kind, dim=1).transpose(1, 2)
