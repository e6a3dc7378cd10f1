"""Capsules with inverted dot-product attention on a ResNet backbone (Tsai et al. 2020), 1.83 million parameters.

Sizes were confirmed in the authors' code and its configuration for CIFAR-10
(apple/ml-capsules-inverted-attention-routing). All votes of a layer are held in memory: 128 images of 32x32 need
several gigabytes.

Letters: B batch, T capsule types, E = M * M pose dimensions, H and W rows and columns, I capsules of a window,
J parents.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.conv_capsules import draw_matrices, matrix_votes, unwindow, window_poses
from capsbench.capsules.routing.inverted_attention import inverted_attention
from capsbench.capsules.votes import StoredVotes
from capsbench.models.image_size import map_size
from capsbench.models.output import Output
from capsbench.models.residual import stage


class AttentionLayer(nn.Module):
    """Convolutional capsules, or with a kernel as large as the map a full layer."""

    def __init__(self, inputs: int, outputs: int, side: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        std = math.sqrt(outputs / (side * inputs * kernel**2))
        self.matrices_IJMM = draw_matrices(inputs * kernel**2, outputs, side, std)
        self.norm = nn.LayerNorm(side**2)

    def votes(self, poses_BTEHW: Float[Tensor, "batch types dim height width"]) -> StoredVotes:
        """Votes of every window."""
        return matrix_votes(window_poses(poses_BTEHW, self.kernel, self.stride), self.matrices_IJMM)

    def forward(
        self,
        poses_BTEHW: Float[Tensor, "batch types dim height width"],
        last_NJE: Float[Tensor, "windows out_types dim"] | None,
    ) -> tuple[Float[Tensor, "windows out_types dim"], Float[Tensor, "out_types windows in_caps"]]:
        """One iteration, given the input poses and this layer's own of the iteration before."""
        return inverted_attention(self.votes(poses_BTEHW), last_NJE, self.norm)


class InvertedAttentionNet(nn.Module):
    """Backbone, primary capsules, two convolutional layers, class capsules, one linear map from pose to logit."""

    def __init__(self, cfg: keys.InvertedAttentionNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        narrow, wide = cfg.backbone
        self.cfg, self.types, self.dim = cfg, cfg.types[0], cfg.pose_side**2
        self.backbone = nn.Sequential(
            nn.Conv2d(channels, narrow, 3, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            stage(narrow, narrow, 3, 1, projection=True),
            stage(narrow, wide, 4, 2, projection=True),
        )
        self.primary = nn.Conv2d(wide, self.types * self.dim, 1, bias=False)
        self.primary_norm = nn.LayerNorm(self.dim)
        kernel, strides = cfg.kernel, list(cfg.strides)
        windows = [(kernel, stride) for stride in strides]
        # The backbone halves the image, rounding up.
        last = map_size(size, [(1, 2), *windows], f"model.kernel={kernel} and model.strides={strides}")
        layers: list[AttentionLayer] = []
        for inputs, outputs, stride in zip(cfg.types[:-1], cfg.types[1:], cfg.strides, strict=True):
            layers.append(AttentionLayer(inputs, outputs, cfg.pose_side, cfg.kernel, stride))
        layers.append(AttentionLayer(cfg.types[-1], classes, cfg.pose_side, last, 1))
        self.layers = nn.ModuleList(layers)
        self.read_out = nn.Linear(self.dim, 1)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - every model takes the same arguments
        *,
        with_routing: bool = False,
    ) -> Output:
        """Logits; coupling is that of the class layer."""
        maps = self.primary(self.backbone(images))
        shaped = maps.view(len(maps), self.types, self.dim, *maps.shape[2:])
        primary = self.primary_norm(shaped.movedim(2, -1)).movedim(-1, 2)
        poses_BJE, history = self._concurrent(primary) if self.cfg.concurrent else self._sequential(primary)
        logits = self.read_out(poses_BJE).squeeze(-1)
        if not with_routing:
            return Output(logits, poses_BJE)
        coupling = torch.stack([one.permute(1, 2, 0) for one in history])
        return Output(logits, poses_BJE, None, coupling)

    def _concurrent(self, primary: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Iteration t of all layers, each from the poses below of iteration t - 1; the first goes straight up."""
        batch, count = len(primary), len(self.layers)
        poses: list[Tensor | None] = [None] * count
        history: list[Tensor] = []
        for iteration in range(self.cfg.iterations):
            below = [primary, *(None if one is None else unwindow(one, batch) for one in poses[:-1])]
            for number, layer in enumerate(self.layers):
                seen = below[number]
                if iteration == 0 and number > 0:
                    fresh = poses[number - 1]
                    assert fresh is not None
                    seen = unwindow(fresh, batch)
                poses[number], coupling = layer(seen, poses[number])
            history.append(coupling)
        last = poses[-1]
        assert last is not None
        return last, history

    def _sequential(self, primary: Tensor) -> tuple[Tensor, list[Tensor]]:
        """All iterations of a layer before the next."""
        seen, poses = primary, primary
        history: list[Tensor] = []
        for layer in self.layers:
            poses, coupling = layer(seen, None)
            history = [coupling]
            for _ in range(self.cfg.iterations - 1):
                poses, coupling = layer(seen, poses)
                history.append(coupling)
            seen = unwindow(poses, len(primary))
        return poses, history
