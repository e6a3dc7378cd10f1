"""The keys of `model`: one dataclass per family of networks."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


def key(default: Any, doc: str, *, identity: bool = True) -> Any:
    """A configuration key: its default, its meaning, and whether it can change the result of a training run."""
    metadata = {"doc": doc, "identity": identity}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class RoutingAlgorithm(StrEnum):
    """How votes become class capsules."""

    dynamic = "dynamic"


class RoutingGradient(StrEnum):
    """Whether gradients flow through all routing iterations (released code) or only the last (most ports)."""

    unroll = "unroll"
    detach = "detach"


class Squash(StrEnum):
    """Non-linearity that maps a capsule's length into [0, 1)."""

    hinton = "hinton"
    exponential = "exponential"


class Initialization(StrEnum):
    """Released code's truncated normals and biases of 0.1, or PyTorch's defaults with small random transforms."""

    official = "official"
    torch = "torch"


class PrimaryScale(StrEnum):
    """Factor on the primary capsules' convolution: 1/types as in the released code, or one as in the paper's text."""

    inverse_types = "inverse_types"
    one = "one"


class MarginForm(StrEnum):
    """Margin loss as the paper writes it (sum over classes) or as the released code computes it (half the mean)."""

    paper = "paper"
    official = "official"


class Pooling(StrEnum):
    """What shrinks the maps of a CNN: a pooling window, the convolution's own stride, or nothing."""

    max = "max"
    average = "average"
    strided = "strided"
    none = "none"


class Head(StrEnum):
    """How a CNN's last maps become features: all of them, or one number a map."""

    flatten = "flatten"
    global_average = "global_average"
    global_max = "global_max"


class Padding(StrEnum):
    """Whether a convolution keeps the map's size (same) or uses only whole windows (valid)."""

    same = "same"
    valid = "valid"


@dataclass
class Routing:
    """Routing between the primary and the class capsules."""

    algorithm: RoutingAlgorithm = key(RoutingAlgorithm.dynamic, "routing algorithm")
    iterations: int = key(3, "routing iterations; 1 is the uniform average")
    gradient: RoutingGradient = key(RoutingGradient.unroll, "unroll: through all iterations; detach: only the last")
    leaky: bool = key(False, "add a none-of-the-above parent that takes part of each capsule's coupling")


@dataclass
class CapsNet:
    """The network of Sabour, Frosst and Hinton 2017."""

    name: str = key("capsnet", "what the model is called in tables", identity=False)
    stem_channels: int = key(256, "channels of the first convolution")
    stem_kernel: int = key(9, "kernel of the first convolution")
    primary_types: int = key(32, "types of primary capsules (capsules per position)")
    primary_dim: int = key(8, "dimensions of a primary capsule's pose")
    primary_kernel: int = key(9, "kernel of the primary capsules' convolution")
    primary_stride: int = key(2, "stride of the primary capsules' convolution")
    primary_scale: PrimaryScale = key(PrimaryScale.inverse_types, "factor on the primary convolution")
    class_dim: int = key(16, "dimensions of a class capsule's pose")
    routing: Routing = field(default_factory=Routing)
    bias: bool = key(True, "bias of the class capsules, added in every routing iteration")
    squash: Squash = key(Squash.hinton, "squashing function")
    initialization: Initialization = key(Initialization.official, "initial weights")
    reconstruction: bool = key(True, "build the decoder")
    decoder_hidden: list[int] = key([512, 1024], "hidden units of the decoder's layers")


@dataclass
class Cnn:
    """A convolutional network with pooling as an axis; the lists have one entry per convolution."""

    name: str = key("cnn", "what the model is called in tables", identity=False)
    channels: list[int] = key([32, 64], "channels of each convolution")
    kernels: list[int] = key([5, 5], "kernel of each convolution")
    strides: list[int] = key([1, 1], "stride of each convolution")
    padding: Padding = key(Padding.same, "same or valid")
    pooling: Pooling = key(Pooling.max, "max, average, strided (the window becomes the convolution's stride) or none")
    windows: list[int] = key([2, 2], "pooling window after each convolution; 1 is no pooling there")
    batch_norm: bool = key(False, "batch normalisation after each convolution")
    head: Head = key(Head.flatten, "flatten, global_average or global_max")
    hidden: list[int] = key([], "units of the fully connected layers before the class scores")
    dropout: float = key(0.0, "dropout rate before the class scores")
