"""Matrix capsules with EM routing (Hinton et al. 2018) or with variational Bayes (De Sousa Ribeiro et al. 2020).

The two papers share their network: a convolution, primary capsules with learned activations, two convolutional capsule
layers and class capsules whose matrices are shared over positions. Initial values and damping follow the released
codes (google-research, `capsule_em`; fabio-deep/Variational-Capsule-Routing).

Letters: B batch, T capsule types, E = M * M pose dimensions, H and W rows and columns, I capsules of a window,
J parents.
"""

import math
from collections.abc import Callable

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
from capsbench.capsules.routing.em import em_routing, over_parents
from capsbench.capsules.routing.result import Routed
from capsbench.capsules.routing.variational_bayes import variational_bayes_routing
from capsbench.capsules.votes import StoredVotes, Votes
from capsbench.errors import CapsbenchError
from capsbench.models.output import Output

# The released code's beta of 0.01 multiplies a cost that is twice the paper's.
FINAL_LAMBDA, DAMPING = 0.02, 0.1


class MatrixRouting(nn.Module):
    """EM or variational Bayes routing to capsules of `outputs` types, with what either learns or normalises.

    Args:
        algorithm: `em` or `variational_bayes`.
        outputs: parent types.
        iterations: routing iterations.
        for_classes: whether the parents are the classes, which start with other costs in the released code.
    """

    def __init__(self, algorithm: keys.RoutingAlgorithm, outputs: int, iterations: int, *, for_classes: bool) -> None:
        super().__init__()
        self.algorithm, self.iterations = algorithm, iterations
        self.final_lambda = FINAL_LAMBDA / 4 if for_classes else FINAL_LAMBDA
        if algorithm is keys.RoutingAlgorithm.em:
            cost_u, cost_a = (2.0, 1.0) if for_classes else (0.5, 0.5)
            self.cost_u_J = nn.Parameter(torch.full((outputs,), cost_u * (math.log(2 * math.pi) + 1) / 2))
            self.cost_a_J = nn.Parameter(torch.full((outputs,), -2500 * cost_a))
        else:
            self.pose_norm = nn.BatchNorm2d(outputs, affine=False)
            self.activation_norm = nn.BatchNorm2d(outputs, affine=False)

    def forward(
        self,
        votes: Votes,
        activations_BI: Float[Tensor, "windows in_caps"],
        posterior: Callable[[Tensor], Tensor],
        *,
        with_coupling: bool = False,
    ) -> Routed:
        """Parents of every window; batch statistics are those of all windows of all images."""
        if self.algorithm is keys.RoutingAlgorithm.em:
            return em_routing(
                votes,
                activations_BI,
                self.cost_u_J,
                self.cost_a_J,
                iterations=self.iterations,
                final_lambda=self.final_lambda,
                damping=DAMPING,
                posterior=posterior,
                with_coupling=with_coupling,
            )
        routed = variational_bayes_routing(
            votes, activations_BI, iterations=self.iterations, posterior=posterior, with_coupling=with_coupling
        )
        evidence = self.activation_norm(routed.activations[:, :, None, None])[:, :, 0, 0]
        return Routed(self.pose_norm(routed.poses[..., None])[..., 0], torch.sigmoid(evidence), routed.coupling)


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
        votes = matrix_votes(window_poses(poses_BTEHW, self.kernel, self.stride), self.matrices_IJMM)
        seen_BI = window_activations(activations_BTHW, self.kernel, self.stride)
        routed = self.routing(votes, seen_BI, self.posterior)
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
        self.primary = nn.Conv2d(cfg.stem_channels, first * (dim + 1), 1, bias=not normal)
        self.pose_norm = nn.BatchNorm3d(first) if normal else nn.Identity()
        self.activation_norm = nn.BatchNorm2d(first) if normal else nn.Identity()
        size = (size - 5) // 2 + 1
        layers: list[ConvolutionalCapsules] = []
        for inputs, outputs, stride in zip((first, second), (second, third), cfg.strides, strict=True):
            if size < cfg.kernel:
                raise CapsbenchError("model: images are too small for the convolutional capsule layers")
            routing = MatrixRouting(cfg.algorithm, outputs, cfg.iterations, for_classes=False)
            layers.append(ConvolutionalCapsules(inputs, outputs, size, side, cfg.kernel, stride, routing))
            size = layers[-1].size
        self.layers = nn.ModuleList(layers)
        em = cfg.algorithm is keys.RoutingAlgorithm.em
        self.matrices_TJMM = draw_matrices(third, classes, side, 0.01 if em else (2 / (third + classes)) ** 0.5 / side)
        self.routing = MatrixRouting(cfg.algorithm, classes, cfg.iterations, for_classes=True)
        if em:
            nn.init.trunc_normal_(self.primary.weight[: first * dim], std=0.5, a=-1.0, b=1.0)
            nn.init.trunc_normal_(self.primary.weight[first * dim :], std=3.0, a=-6.0, b=6.0)

    def primary_capsules(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch types dim rows columns"], Float[Tensor, "batch types rows columns"]]:
        """Poses, and the activations learned beside them: sigmoid(x - 1) with EM, else sigmoid(BatchNorm(x))."""
        maps = self.primary(torch.relu(self.stem_norm(self.stem(images))))
        poses, logits = maps.split([self.types * self.dim, self.types], dim=1)
        shift = 0.0 if self.cfg.stem_batch_norm else 1.0
        activations = torch.sigmoid(self.activation_norm(logits) - shift)
        return self.pose_norm(poses.view(len(poses), self.types, self.dim, *poses.shape[2:])), activations

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
        routed = self.routing(StoredVotes(votes_BIJE), seen_BI, over_parents, with_coupling=with_routing)
        lengths = primary_BI if with_routing else None
        return Output(routed.activations, routed.poses, None, routed.coupling, lengths)

    def _coordinates(self, rows: int, columns: int, types: int, like: Tensor) -> Tensor:
        """Row and column, divided by 100, in the first two of E numbers; zero in the others."""
        grid = like.new_zeros(rows, columns, types, 1, self.dim)
        grid[..., 0] = torch.arange(rows, device=like.device).view(-1, 1, 1, 1) / 100
        grid[..., 1] = torch.arange(columns, device=like.device).view(1, -1, 1, 1) / 100
        return grid.flatten(0, 2)
