"""Convolutional networks to compare capsules with: one module, described by lists, with pooling as an axis."""

from itertools import pairwise

from jaxtyping import Float, Int
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.convolution import Convolution
from capsbench.capsules.relu import Relu
from capsbench.errors import CapsbenchError
from capsbench.models.output import Output


class Cnn(nn.Module):
    """Convolutions with ReLU and pooling, fully connected layers with ReLU, dropout, class logits.

    With pooling `strided`, each pooling window becomes a factor on its convolution's stride, so that maps and parameter
    counts stay those of the pooled network; with `none` the windows are dropped and the maps stay large.
    """

    def __init__(self, cfg: keys.Cnn, channels: int, size: int, classes: int) -> None:
        super().__init__()
        _check(cfg)
        layers: list[nn.Module] = []
        for inputs, (outputs, kernel, stride, window) in zip(
            [channels, *cfg.channels],
            zip(cfg.channels, cfg.kernels, cfg.strides, cfg.windows, strict=True),
            strict=False,
        ):
            strided = cfg.pooling is keys.Pooling.strided
            pooled = window > 1 and cfg.pooling in (keys.Pooling.max, keys.Pooling.average)
            step = stride * window if strided else stride
            padding = kernel // 2 if cfg.padding is keys.Padding.same else 0
            layers.append(Convolution(inputs, outputs, kernel, step, padding, bias=not cfg.batch_norm))
            size = (size + 2 * padding - kernel) // step + 1
            if cfg.batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(Relu())
            if pooled:
                layers.append(nn.MaxPool2d(window) if cfg.pooling is keys.Pooling.max else nn.AvgPool2d(window))
                size //= window
            if size < 1:
                raise CapsbenchError("model.kernels, model.strides and model.windows leave no pixel of the image")
        self.features = nn.Sequential(*layers)
        self.head = _head(cfg.head)
        width = cfg.channels[-1] * (size**2 if cfg.head is keys.Head.flatten else 1)
        widths = [width, *cfg.hidden]
        dense: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            dense += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.dense = nn.Sequential(*dense, nn.Dropout(cfg.dropout))
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"] | None = None,  # noqa: ARG002 - every model takes the same arguments
        *,
        with_routing: bool = False,  # noqa: ARG002
    ) -> Output:
        """Class logits; the features before them as one pose per image."""
        features = self.dense(self.head(self.features(images)))
        return Output(self.classifier(features), features[:, None, :])


def _head(head: keys.Head) -> nn.Module:
    if head is keys.Head.global_average:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if head is keys.Head.global_max:
        return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    return nn.Flatten()


def _check(cfg: keys.Cnn) -> None:
    lengths = {name: len(getattr(cfg, name)) for name in ("channels", "kernels", "strides", "windows")}
    if len(set(lengths.values())) != 1 or not cfg.channels:
        raise CapsbenchError(
            "model.channels, model.kernels, model.strides and model.windows need one entry per convolution; "
            f"they have {lengths}"
        )
    if cfg.padding is keys.Padding.same and any(kernel % 2 == 0 for kernel in cfg.kernels):
        raise CapsbenchError(f"model.padding=same needs odd kernels, not model.kernels={list(cfg.kernels)}")
