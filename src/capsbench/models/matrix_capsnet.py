"""Matrix capsules with EM routing (Hinton et al. 2018), variational Bayes (De Sousa Ribeiro et al. 2020) or others.

The two papers share their network: a convolution, primary capsules with learned activations, two convolutional capsule
layers and class capsules whose matrices are shared over positions. Self-routing takes their place as in the deeper
networks of Hahn et al. 2019; with dynamic, max-min and uniform routing, activations are lengths of squashed poses.
Initial values and damping follow the released codes (google-research, `capsule_em`;
fabio-deep/Variational-Capsule-Routing).

Letters: B batch, T capsule types, E = M * M pose dimensions, H and W rows and columns, I capsules of a window,
J parents.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.conv_capsules import (
    OverlappingParents,
    draw_matrices,
    matrix_votes,
    unwindow,
    window_activations,
    window_poses,
)
from capsbench.capsules.routing.em import over_parents
from capsbench.capsules.squash import length_of, squash_hinton
from capsbench.capsules.votes import StoredVotes
from capsbench.models.image_size import map_size
from capsbench.models.matrix_routing import MatrixRouting
from capsbench.models.output import Output


class ConvolutionalCapsules(nn.Module):
    """Capsules of `outputs` types at every position that a window has."""

    def __init__(
        self, inputs: int, outputs: int, size: int, side: int, kernel: int, stride: int, routing: MatrixRouting
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.routing = kernel, stride, routing
        self.size = (size - kernel) // stride + 1
        self.posterior = OverlappingParents(size, kernel, stride)
        em = routing.algorithm is keys.RoutingAlgorithm.em
        spread = 0.3 if em else math.sqrt(2 / ((inputs + outputs) * kernel**2 * side**2))
        self.matrices_IJMM = draw_matrices(inputs * kernel**2, outputs, side, spread)

    def forward(
        self,
        poses_BTEHW: Float[Tensor, "batch types dim height width"],
        activations_BTHW: Float[Tensor, "batch types height width"],
    ) -> tuple[Float[Tensor, "batch out_types dim rows columns"], Float[Tensor, "batch out_types rows columns"]]:
        """Poses and activations of the output capsules."""
        batch = len(poses_BTEHW)
        poses_NIE = window_poses(poses_BTEHW, self.kernel, self.stride)
        seen_NI = window_activations(activations_BTHW, self.kernel, self.stride)
        routed = self.routing(matrix_votes(poses_NIE, self.matrices_IJMM), poses_NIE, seen_NI, self.posterior)
        return unwindow(routed.poses, batch), unwindow(routed.activations, batch)


class MatrixCapsNet(nn.Module):
    """Five layers; about 310,000 parameters with A = B = C = D = 32, as the EM paper says."""

    def __init__(self, cfg: keys.MatrixCapsNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        first, second, third = cfg.types
        side, dim = cfg.pose_side, cfg.pose_side**2
        self.cfg, self.types, self.dim = cfg, first, dim
        normal = cfg.stem_batch_norm
        self.stem = nn.Conv2d(channels, cfg.stem_channels, 5, 2, bias=not normal)
        self.stem_norm = nn.BatchNorm2d(cfg.stem_channels) if normal else nn.Identity()
        self.learned = cfg.algorithm in keys.OWN_ACTIVATION
        self.primary = nn.Conv2d(cfg.stem_channels, first * (dim + self.learned), 1, bias=not normal)
        self.pose_norm = nn.BatchNorm3d(first) if normal else nn.Identity()
        self.activation_norm = nn.BatchNorm2d(first) if normal and self.learned else nn.Identity()
        kernel, strides = cfg.kernel, list(cfg.strides)
        windows = [(5, 2), *((kernel, stride) for stride in strides)]
        map_size(size, windows, f"model.kernel={kernel} and model.strides={strides}")
        size = (size - 5) // 2 + 1
        layers: list[ConvolutionalCapsules] = []
        for inputs, outputs, stride in zip((first, second), (second, third), cfg.strides, strict=True):
            window = inputs * cfg.kernel**2
            routing = MatrixRouting(cfg.algorithm, window, outputs, dim, cfg.iterations, for_classes=False)
            layers.append(ConvolutionalCapsules(inputs, outputs, size, side, cfg.kernel, stride, routing))
            size = layers[-1].size
        self.layers = nn.ModuleList(layers)
        em = cfg.algorithm is keys.RoutingAlgorithm.em
        self.matrices_TJMM = draw_matrices(third, classes, side, 0.01 if em else (2 / (third + classes)) ** 0.5 / side)
        self.routing = MatrixRouting(cfg.algorithm, third, classes, dim, cfg.iterations, for_classes=True)
        if em:
            nn.init.trunc_normal_(self.primary.weight[: first * dim], std=0.5, a=-1.0, b=1.0)
            nn.init.trunc_normal_(self.primary.weight[first * dim :], std=3.0, a=-6.0, b=6.0)

    def primary_capsules(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch types dim rows columns"], Float[Tensor, "batch types rows columns"]]:
        """Poses, and the activations learned beside them: sigmoid(BatchNorm(x)), or without that norm sigmoid(x - 1).

        Where activations are not learned: squashed poses and their lengths.
        """
        maps = self.primary(torch.relu(self.stem_norm(self.stem(images))))
        flat = maps[:, : self.types * self.dim]
        poses: Tensor = self.pose_norm(flat.view(len(flat), self.types, self.dim, *flat.shape[2:]))
        if not self.learned:
            poses = squash_hinton(poses, dim=2)
            return poses, length_of(poses, dim=2).squeeze(2)
        shift = 0.0 if self.cfg.stem_batch_norm else 1.0
        return poses, torch.sigmoid(self.activation_norm(maps[:, self.types * self.dim :]) - shift)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - every model takes the same arguments
        *,
        with_routing: bool = False,
    ) -> Output:
        """Activations of the classes as scores; coupling is that of the last layer."""
        poses, activations = self.primary_capsules(images)
        primary_BI = activations.flatten(1)
        for layer in self.layers:
            poses, activations = layer(poses, activations)
        batch, types, dim, rows, columns = poses.shape
        poses_BIE = poses.permute(0, 3, 4, 1, 2).reshape(-1, types, dim)
        votes = matrix_votes(poses_BIE, self.matrices_TJMM).stored()
        votes_BIJE = votes.view(batch, rows * columns * types, -1, dim)
        if self.cfg.coordinates:
            votes_BIJE = votes_BIJE + self._coordinates(rows, columns, types, votes_BIJE)
        seen_BI = activations.permute(0, 2, 3, 1).flatten(1)
        routed = self.routing(StoredVotes(votes_BIJE), poses_BIE, seen_BI, over_parents, with_coupling=with_routing)
        lengths = primary_BI if with_routing else None
        return Output(routed.activations, routed.poses, None, routed.coupling, lengths)

    def _coordinates(self, rows: int, columns: int, types: int, like: Tensor) -> Tensor:
        """Row and column, divided by 100, in the first two of E numbers; zero in the others."""
        grid = like.new_zeros(rows, columns, types, 1, self.dim)
        grid[..., 0] = torch.arange(rows, device=like.device).view(-1, 1, 1, 1) / 100
        grid[..., 1] = torch.arange(columns, device=like.device).view(1, -1, 1, 1) / 100
        return grid.flatten(0, 2)
