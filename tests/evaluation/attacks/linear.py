"""Models whose worst case within the cube is known in closed form."""

import torch
from torch import nn

from capsbench.models.output import Output


class Linear(nn.Module):
    """Scores are linear in the pixels; `flat` rounds them, which leaves no gradient and the same decisions."""

    def __init__(self, classes=2, size=6, seed=0, flat=False):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        weight = torch.randn(classes, size * size, generator=draw)
        # Of an evenly grey image nothing is known.
        self.weight = nn.Parameter(weight - weight.mean(dim=1, keepdim=True))
        self.flat, self.seen = flat, []

    def forward(self, images, labels=None):
        self.seen.append(images.detach())
        scores = images.flatten(1) @ self.weight.T
        return Output(torch.round(scores * 1000) / 1000 if self.flat else scores)

    def worst_margin(self, images, labels, epsilon):
        """Largest margin of a wrong class within the cube, where no pixel meets 0 or 1."""
        scores = images.flatten(1) @ self.weight.T
        against = self.weight[None] - self.weight[labels][:, None]
        margins = scores - scores.gather(1, labels[:, None]) + epsilon * against.abs().sum(dim=2)
        return margins.scatter(1, labels[:, None], -torch.inf).amax(dim=1).detach()


def grey(count, size=6, seed=1):
    """Images around half brightness."""
    draw = torch.Generator().manual_seed(seed)
    return 0.45 + 0.1 * torch.rand(count, 1, size, size, generator=draw)
