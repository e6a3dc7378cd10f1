"""Branching network with homogeneous vector capsules ("No routing needed between capsules", Byerly et al. 2021).

Nine 3x3 convolutions; after the third, sixth and ninth a branch ends in class capsules, and the branches' logits are
weighed and added. 1,514,187 parameters on 28x28 grey images with 10 classes, as Papers with Code's table for MNIST
lists them (which public repositories quote; about 1.5 million follow from the abstract). The authors' code gives that
many for capsules that are whole maps (AdamByerly/BMCNNwHFCs, `SmallImageBranchingMerging`, `caps_from_conv_zxy`),
before the batch normalisation of logits that it has on top.

Letters: B batch, C maps, P positions, I input capsules, J classes, D pose dimensions.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.routing.homogeneous import homogeneous_capsules
from capsbench.capsules.routing.result import Routed
from capsbench.models.image_size import map_size
from capsbench.models.output import Output


class ShiftedNorm(nn.Module):
    """Batch normalisation with a learned offset but no learned scale, over everything but axis 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01, affine=False)
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Normalised maps."""
        shifted: Tensor = self.norm(x) + self.offset[:, None, None]
        return shifted


class Branch(nn.Module):
    """Homogeneous class capsules over one map stack."""

    def __init__(self, channels: int, positions: int, classes: int, *, capsule_from_map: bool) -> None:
        super().__init__()
        self.capsule_from_map = capsule_from_map
        inputs, dim = (channels, positions) if capsule_from_map else (positions, channels)
        self.weights_JDI = nn.Parameter(torch.empty(classes, dim, inputs))
        nn.init.kaiming_uniform_(self.weights_JDI, a=5**0.5)
        self.norm = ShiftedNorm(dim)

    def forward(self, maps_BCHW: Float[Tensor, "batch channels height width"]) -> Routed:
        """Class capsules; their lengths are this branch's logits."""
        flat_BCP = maps_BCHW.flatten(2)
        poses_BID = flat_BCP if self.capsule_from_map else flat_BCP.transpose(1, 2)
        return homogeneous_capsules(poses_BID, self.weights_JDI, self._normalise)

    def _normalise(self, sums_BJD: Tensor) -> Tensor:
        normal: Tensor = self.norm(sums_BJD.transpose(1, 2)[..., None])
        return normal[..., 0].transpose(1, 2)


class HvcNet(nn.Module):
    """Convolutions without padding or pooling, and branches."""

    def __init__(self, cfg: keys.HvcNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        map_size(size, [(3, 1)] * max(cfg.branches), f"model.branches={list(cfg.branches)}")
        self.cfg = cfg
        before, width = channels, cfg.filters
        layers, branches = [], {}
        for number in range(1, max(cfg.branches) + 1):
            layers.append(nn.Sequential(nn.Conv2d(before, width, 3, bias=False), ShiftedNorm(width), nn.ReLU()))
            size -= 2
            if number in cfg.branches:
                branches[str(number)] = Branch(width, size**2, classes, capsule_from_map=cfg.capsule_from_map)
            before, width = width, width + cfg.growth
        self.layers = nn.ModuleList(layers)
        self.branches = nn.ModuleDict(branches)
        ones = torch.ones(len(branches))
        self.branch_weights = nn.Parameter(ones) if cfg.learned_branch_weights else nn.Buffer(ones)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - every model takes the same arguments
        *,
        with_routing: bool = False,  # noqa: ARG002
    ) -> Output:
        """Weighed sum of the branches' logits; poses are the last branch's."""
        maps, found = images, []
        for number, layer in enumerate(self.layers, 1):
            maps = layer(maps)
            if str(number) in self.branches:
                found.append(self.branches[str(number)](maps))
        logits = torch.stack([routed.activations for routed in found], dim=-1)
        return Output((logits * self.branch_weights).sum(dim=-1), found[-1].poses)
