"""Residual blocks of two 3x3 convolutions (He et al. 2016), with either of the two shortcuts."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """ReLU(BN(conv(ReLU(BN(conv(x))))) + shortcut(x)).

    Args:
        inputs: channels before.
        outputs: channels after.
        stride: of the first convolution and of the shortcut.
        projection: whether a shortcut between different shapes is a learned 1x1 convolution with batch normalisation,
            or every `stride`-th pixel with zeros for the new channels (the paper's option A, without parameters).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, projection: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs
        self.shortcut: nn.Module | None = None
        if projection and (stride != 1 or inputs != outputs):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels rows columns"]:
        """Maps of the block."""
        found = functional.relu(self.first_norm(self.first(maps)))
        found = self.second_norm(self.second(found))
        if self.shortcut is not None:
            return functional.relu(found + self.shortcut(maps))
        if self.stride != 1 or self.missing:
            before = self.missing // 2
            maps = functional.pad(
                maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.missing - before)
            )
        return functional.relu(found + maps)


def stage(inputs: int, outputs: int, blocks: int, stride: int, *, projection: bool) -> nn.Sequential:
    """Blocks of one width, the first of which has the stride."""
    first = ResidualBlock(inputs, outputs, stride, projection=projection)
    return nn.Sequential(first, *(ResidualBlock(outputs, outputs, 1, projection=projection) for _ in range(blocks - 1)))
