"""The yardstick: CapsNet written plainly, as most PyTorch ports write it, but correctly.

Votes are one broadcast matrix product of every transformation matrix with every pose, and stay in memory; routing walks
over them with element-wise products and sums; gradients flow through all iterations as in the released code. A ratio to
this layer can be had on any machine.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from capsbench.config_models import CapsNet
from capsbench.models.output import Output


def plain_squash(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Sabour et al. 2017, eq. 1, with the usual epsilon."""
    norm: Tensor = x.norm(p=2, dim=-1, keepdim=True)
    return norm**2 / (1 + norm**2) * x / (norm + 1e-8)


class NaiveCapsNet(nn.Module):
    """Sabour et al. 2017 with the layer sizes of a configuration, on grey or colour images of one size."""

    def __init__(self, cfg: CapsNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.cfg = cfg
        positions = ((size - cfg.stem_kernel + 1 - cfg.primary_kernel) // cfg.primary_stride + 1) ** 2
        inputs = cfg.primary_types * positions
        self.stem = nn.Conv2d(channels, cfg.stem_channels, cfg.stem_kernel)
        self.primary = nn.Conv2d(
            cfg.stem_channels, cfg.primary_types * cfg.primary_dim, cfg.primary_kernel, cfg.primary_stride
        )
        self.weight = nn.Parameter(0.01 * torch.randn(classes, inputs, cfg.class_dim, cfg.primary_dim))
        layers: list[nn.Module] = []
        width = classes * cfg.class_dim
        for hidden in cfg.decoder_hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.decoder = nn.Sequential(*layers, nn.Linear(width, channels * size * size), nn.Sigmoid())
        self.image_shape = (channels, size, size)

    @override
    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,
        *,
        with_routing: bool = False,  # every model takes the same arguments
    ) -> Output:
        """Class capsules and the reconstruction from the true class."""
        maps = self.primary(functional.relu(self.stem(images)))
        batch, cfg = len(images), self.cfg
        poses = maps.view(batch, cfg.primary_types, cfg.primary_dim, -1).permute(0, 1, 3, 2)
        poses = plain_squash(poses.reshape(batch, -1, cfg.primary_dim))
        votes = torch.squeeze(torch.matmul(self.weight, poses[:, None, :, :, None]), dim=-1)
        logits = torch.zeros(votes.shape[:3], device=images.device)
        outputs = votes[:, :, 0]
        for iteration in range(cfg.routing.iterations):
            coupling = functional.softmax(logits, dim=1)
            outputs = plain_squash(torch.sum(coupling[..., None] * votes, dim=-2, keepdim=True))
            if iteration < cfg.routing.iterations - 1:
                logits = logits + torch.sum(outputs * votes, dim=-1)
        capsules = outputs.squeeze(dim=-2)
        lengths = capsules.norm(dim=-1)
        chosen = lengths.argmax(dim=1) if labels is None else labels
        mask = functional.one_hot(chosen, lengths.shape[1]).to(capsules.dtype)
        reconstruction = self.decoder((capsules * mask[:, :, None]).view(batch, -1)).view(-1, *self.image_shape)
        return Output(lengths, capsules, reconstruction.float())
