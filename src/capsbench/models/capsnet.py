"""CapsNet (Sabour, Frosst, Hinton 2017, "Dynamic routing between capsules"), with any routing algorithm.

Letters: B batch, I input capsules, J classes, D and E pose dimensions of primary and class capsules.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.class_capsules import ClassCapsules
from capsbench.capsules.convolution import Convolution
from capsbench.capsules.decoder import Decoder
from capsbench.capsules.primary import PrimaryCapsules
from capsbench.capsules.relu import relu
from capsbench.capsules.squash import activation_of
from capsbench.models.image_size import map_size, same_padding
from capsbench.models.output import Output


class CapsNet(nn.Module):
    """Convolution, primary capsules, class capsules with routing, and a decoder.

    Parameter counts on 28x28 grey images with 10 classes are the paper's: 8,215,728 with the decoder
    and 6,804,384 without it, each 160 fewer without the class capsules' bias.
    """

    def __init__(self, cfg: keys.CapsNet, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.cfg = cfg
        same, padding = cfg.padding is keys.Padding.same, (0, 0)
        if same:
            padding = same_padding(size, cfg.primary_kernel, cfg.primary_stride)
            primary_size = -(-size // cfg.primary_stride)
        else:
            primary_size = map_size(
                size,
                [(cfg.stem_kernel, 1), (cfg.primary_kernel, cfg.primary_stride)],
                f"model.stem_kernel={cfg.stem_kernel} and model.primary_kernel={cfg.primary_kernel}",
            )
        self.primary_shape = (cfg.primary_types, primary_size, primary_size)
        scale = 1 / cfg.primary_types if cfg.primary_scale is keys.PrimaryScale.inverse_types else 1.0
        self.stem = Convolution(channels, cfg.stem_channels, cfg.stem_kernel, padding="same" if same else 0)
        self.deeper = nn.ModuleList(
            Convolution(cfg.stem_channels, cfg.stem_channels, cfg.stem_kernel, padding="same")
            for _ in range(cfg.stem_depth - 1)
        )
        self.primary = PrimaryCapsules(
            cfg.stem_channels,
            cfg.primary_types,
            cfg.primary_dim,
            cfg.primary_kernel,
            cfg.primary_stride,
            scale=scale,
            squash_kind=cfg.squash,
            padding=padding,
        )
        self.class_capsules = ClassCapsules(
            cfg.routing,
            types=cfg.primary_types,
            positions=primary_size**2,
            in_dim=cfg.primary_dim,
            classes=classes,
            dim=cfg.class_dim,
            transforms=cfg.transforms,
            squash_kind=cfg.squash,
            bias=cfg.bias,
            poses_used=cfg.reconstruction,
        )
        image_shape, dim = (channels, size, size), self.class_capsules.dim
        self.decoder = None
        if cfg.reconstruction:
            self.decoder = Decoder(classes, dim, cfg.decoder_hidden, image_shape, cfg.decoder, cfg.mask)
        initialize(self, cfg.initialization)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,
        *,
        with_routing: bool = False,
    ) -> Output:
        """Class capsules and the reconstruction from one of them.

        Args:
            images: pixels in [0, 1].
            labels: class whose capsule the decoder sees (the true class during training, as in the paper);
                None: the longest capsule.
            with_routing: also return coupling coefficients and primary capsule lengths.
        """
        maps = relu(self.stem(images))
        for convolution in self.deeper:
            maps = relu(convolution(maps))
        primary_BID = self.primary(maps)
        routed = self.class_capsules(primary_BID, with_coupling=with_routing)
        reconstruction = None
        if self.decoder is not None:
            chosen = routed.activations.argmax(dim=1) if labels is None else labels
            reconstruction = self.decoder(routed.poses, chosen)
        lengths = activation_of(primary_BID, self.cfg.squash) if with_routing else None
        return Output(routed.activations, routed.poses, reconstruction, routed.coupling, lengths)


def initialize(model: CapsNet, kind: keys.Initialization) -> None:
    """Draw initial weights.

    `official` follows the released code: truncated normals of standard deviation 0.05 (stem) and 0.1 (everything else),
    cut at two standard deviations, and biases of 0.1. `torch` keeps PyTorch's defaults for convolutions and the decoder
    and draws the transformation matrices from 0.01 N(0, 1), as most ports do. What an algorithm learns
    besides starts as its paper says.
    """
    transforms_JDIE = model.class_capsules.transforms_JDIE
    if kind is keys.Initialization.torch:
        if transforms_JDIE is not None:
            nn.init.normal_(transforms_JDIE, std=0.01)
        return
    stem = [model.stem, *model.deeper]
    for convolution in stem:
        _truncated_normal(convolution.weight, 0.05)
    _truncated_normal(model.primary.conv.weight, 0.1)
    if transforms_JDIE is not None:
        _truncated_normal(transforms_JDIE, 0.1)
    biases = [*(convolution.bias for convolution in stem), model.primary.bias, model.class_capsules.bias_JE]
    for layer in model.decoder.layers if model.decoder is not None else ():
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
            _truncated_normal(layer.weight, 0.1)
            biases.append(layer.bias)
    for bias in biases:
        if bias is not None:
            nn.init.constant_(bias, 0.1)


def _truncated_normal(weight: Tensor, std: float) -> None:
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
