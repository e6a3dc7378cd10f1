"""ResNet-20 with a class layer of self-routing capsules (Hahn, Pyeon and Kim 2019), 0.9 million parameters.

Other routing algorithms take its place through `model.routing.algorithm`, as in the paper's comparison (dynamic
routing: 5.8 million). Sizes and normalisation were confirmed in the authors' code (coder3000/SR-CapsNet,
`models/resnet.py`).

Letters: B batch, T capsule types, P positions, D pose dimensions, I = T * P.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from capsbench import config_models as keys
from capsbench.capsules.class_capsules import ClassCapsules
from capsbench.capsules.squash import squash
from capsbench.models.output import Output
from capsbench.models.residual import stage


class SelfRoutingResNet(nn.Module):
    """Three residual stages, primary capsules with learned activations, class capsules over the whole map."""

    def __init__(self, cfg: keys.SelfRoutingResNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.cfg, planes = cfg, cfg.planes
        self.stem = nn.Conv2d(channels, planes, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(planes)
        self.stages = nn.Sequential(
            stage(planes, planes, cfg.blocks, 1, projection=False),
            stage(planes, 2 * planes, cfg.blocks, 2, projection=False),
            stage(2 * planes, 4 * planes, cfg.blocks, 2, projection=False),
        )
        positions = ((((size + 1) // 2) + 1) // 2) ** 2
        self.has_activations = cfg.routing.algorithm in keys.OWN_ACTIVATION
        if self.has_activations:
            self.activation = nn.Conv2d(4 * planes, cfg.types, 3, padding=1, bias=False)
            self.activation_norm = nn.BatchNorm2d(cfg.types)
        self.pose = nn.Conv2d(4 * planes, cfg.types * cfg.dim, 3, padding=1, bias=False)
        self.pose_norm = nn.BatchNorm2d(cfg.types * cfg.dim)
        self.class_capsules = ClassCapsules(
            cfg.routing,
            types=cfg.types,
            positions=positions,
            in_dim=cfg.dim,
            classes=classes,
            dim=cfg.dim,
            bias=False,
            poses_used=False,
        )
        if self.class_capsules.transforms_JDIE is not None:
            nn.init.normal_(self.class_capsules.transforms_JDIE, std=cfg.dim**-0.5)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - every model takes the same arguments
        *,
        with_routing: bool = False,
    ) -> Output:
        """Class activations as scores."""
        maps = self.stages(functional.relu(self.stem_norm(self.stem(images))))
        poses = self.pose_norm(self.pose(maps)).view(len(maps), self.cfg.types, self.cfg.dim, -1)
        poses_BID = poses.transpose(2, 3).flatten(1, 2)
        activations_BI = None
        if self.has_activations:
            activations_BI = torch.sigmoid(self.activation_norm(self.activation(maps))).flatten(1)
        else:
            poses_BID = squash(poses_BID, keys.Squash.hinton)
        routed = self.class_capsules(poses_BID, activations_BI, with_coupling=with_routing)
        if not with_routing:
            return Output(routed.activations, routed.poses)
        seen = torch.linalg.vector_norm(poses_BID, dim=-1) if activations_BI is None else activations_BI
        return Output(routed.activations, routed.poses, None, routed.coupling, seen)
