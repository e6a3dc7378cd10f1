"""Efficient-CapsNet (Mazzia, Salvetti and Chiaberge 2021): few capsules, self-attention instead of iterations.

161,824 parameters without the decoder on 28x28 grey images with 10 classes, as published. Layers and order (ReLU before
batch normalisation) were confirmed in the authors' code (EscVM/Efficient-CapsNet).
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.class_capsules import ClassCapsules
from capsbench.capsules.decoder import Decoder
from capsbench.capsules.squash import activation_of, squash
from capsbench.models.image_size import map_size
from capsbench.models.output import Output

STEM = ((32, 5, 1), (64, 3, 1), (64, 3, 1), (128, 3, 2))


class EfficientCapsNet(nn.Module):
    """Four convolutions, primary capsules by one depthwise convolution, class capsules, decoder."""

    def __init__(self, cfg: keys.EfficientCapsNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.cfg = cfg
        layers: list[nn.Module] = []
        before = channels
        for width, kernel, stride in STEM:
            layers += [
                nn.Conv2d(before, width, kernel, stride),
                nn.ReLU(),
                nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
            ]
            before = width
        windows = [(kernel, stride) for _, kernel, stride in STEM]
        maps = map_size(size, [*windows, (cfg.primary_kernel, 1)], f"model.primary_kernel={cfg.primary_kernel}")
        self.stem = nn.Sequential(*layers)
        self.dim = before // cfg.primary_types
        self.primary = nn.Conv2d(before, before, cfg.primary_kernel, groups=before)
        self.class_capsules = ClassCapsules(
            cfg.routing,
            types=cfg.primary_types,
            positions=maps**2,
            in_dim=self.dim,
            classes=classes,
            dim=cfg.class_dim,
            squash_kind=cfg.squash,
            bias=False,
            poses_used=cfg.reconstruction,
        )
        if self.class_capsules.transforms_JDIE is not None:
            nn.init.normal_(self.class_capsules.transforms_JDIE, std=(2 / self.dim) ** 0.5 / 10)
        self.decoder = None
        if cfg.reconstruction:
            self.decoder = Decoder(classes, self.class_capsules.dim, cfg.decoder_hidden, (channels, size, size))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,
        *,
        with_routing: bool = False,
    ) -> Output:
        """Class capsules and the reconstruction from that of `labels`, or of the longest."""
        maps = self.primary(self.stem(images))
        poses_BTDP = maps.view(len(maps), self.cfg.primary_types, self.dim, -1)
        poses_BID = squash(poses_BTDP.transpose(2, 3).flatten(1, 2), self.cfg.squash)
        routed = self.class_capsules(poses_BID, with_coupling=with_routing)
        reconstruction = None
        if self.decoder is not None:
            chosen = routed.activations.argmax(dim=1) if labels is None else labels
            reconstruction = self.decoder(routed.poses, chosen)
        lengths = activation_of(poses_BID, self.cfg.squash) if with_routing else None
        return Output(routed.activations, routed.poses, reconstruction, routed.coupling, lengths)
