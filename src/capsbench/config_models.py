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
    """How input capsules become class capsules; `capsules/routing/` has one file for each."""

    dynamic = "dynamic"
    uniform = "uniform"
    random_fixed = "random_fixed"
    shared = "shared"
    max_min = "max_min"
    em = "em"
    variational_bayes = "variational_bayes"
    self_routing = "self_routing"
    inverted_attention = "inverted_attention"
    self_attention = "self_attention"
    attention = "attention"
    homogeneous = "homogeneous"


class Normaliser(StrEnum):
    """How dynamic routing's logits become coupling coefficients."""

    softmax_out = "softmax_out"
    softmax_in = "softmax_in"
    sigmoid = "sigmoid"
    max_min = "max_min"


class TransformSharing(StrEnum):
    """Which input capsules share a transformation matrix: none, those of one type, all; or no matrices at all."""

    per_pair = "per_pair"
    per_type = "per_type"
    single = "single"
    none = "none"


class RoutingGradient(StrEnum):
    """Whether gradients flow through all routing iterations (released code) or only the last (most ports)."""

    unroll = "unroll"
    detach = "detach"


class Squash(StrEnum):
    """Non-linearity of a capsule's pose; the first three keep activations in [0, 1)."""

    hinton = "hinton"
    exponential = "exponential"
    tanh = "tanh"
    layer_norm = "layer_norm"
    none = "none"


class DecoderKind(StrEnum):
    """Fully connected layers (Sabour et al. 2017) or transposed convolutions (Rajasegaran et al. 2019)."""

    dense = "dense"
    deconvolution = "deconvolution"


class DecoderMask(StrEnum):
    """Whether the decoder can tell which class it rebuilds: all poses with the others zeroed, or the one pose alone."""

    class_conditional = "class_conditional"
    independent = "independent"


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
    iterations: int = key(
        3,
        "routing iterations, 1 being the uniform average; of dynamic, max_min, em, variational_bayes and "
        "inverted_attention, the others have none",
    )
    gradient: RoutingGradient = key(
        RoutingGradient.unroll, "unroll: through all iterations; detach: only the last (dynamic, max_min)"
    )
    leaky: bool = key(False, "add a none-of-the-above parent that takes part of each capsule's coupling (dynamic)")
    normaliser: Normaliser = key(
        Normaliser.softmax_out,
        "logits to coupling (dynamic): softmax_out over outputs (the paper), softmax_in over inputs (a common port "
        "mistake), sigmoid, or max_min over outputs",
    )
    final_lambda: float = key(0.01, "inverse temperature that em's schedule tends to: final_lambda (1 - 0.95^t)")
    min_variance: float = key(5e-4, "added to the variances of em, as in the released code")


@dataclass
class CapsNet:
    """The network of Sabour, Frosst and Hinton 2017."""

    name: str = key("capsnet", "what the model is called in tables", identity=False)
    stem_channels: int = key(256, "channels of the first convolution")
    stem_kernel: int = key(9, "kernel of the first convolution")
    stem_depth: int = key(1, "convolutions before the primary capsules; those after the first keep the map's size")
    primary_types: int = key(32, "types of primary capsules (capsules per position)")
    primary_dim: int = key(8, "dimensions of a primary capsule's pose")
    primary_kernel: int = key(9, "kernel of the primary capsules' convolution")
    primary_stride: int = key(2, "stride of the primary capsules' convolution")
    padding: Padding = key(
        Padding.valid,
        "of both convolutions: valid (the paper), or same (the released code on CIFAR-10): zeros on each side, one "
        "more at the lower and right edges where their number is odd",
    )
    primary_scale: PrimaryScale = key(PrimaryScale.inverse_types, "factor on the primary convolution")
    class_dim: int = key(16, "dimensions of a class capsule's pose (homogeneous: primary_dim, whatever this says)")
    routing: Routing = field(default_factory=Routing)
    transforms: TransformSharing = key(
        TransformSharing.per_pair,
        "one matrix per pair of capsules, per capsule type (shared over positions), a single one per class, or none",
    )
    bias: bool = key(
        True,
        "bias of the class capsules, added before each squash; em, variational_bayes, self_routing, "
        "inverted_attention and homogeneous have none",
    )
    squash: Squash = key(
        Squash.hinton,
        "of primary capsules, and of class capsules where the routing algorithm squashes (not em, variational_bayes, "
        "self_routing, inverted_attention, homogeneous); layer_norm reads class scores from poses by a linear map",
    )
    initialization: Initialization = key(Initialization.official, "initial weights")
    reconstruction: bool = key(True, "build the decoder")
    decoder: DecoderKind = key(DecoderKind.dense, "dense layers or deconvolution (transposed convolutions)")
    mask: DecoderMask = key(
        DecoderMask.class_conditional,
        "what the decoder sees: all poses but one zeroed, or the one pose alone (independent)",
    )
    decoder_hidden: list[int] = key([512, 1024], "hidden units of the dense decoder's layers")


@dataclass
class MatrixCapsNet:
    """Convolutional capsules with pose matrices: Hinton et al. 2018 (em), De Sousa Ribeiro et al. 2020, or others."""

    name: str = key("matrix_capsnet", "what the model is called in tables", identity=False)
    stem_channels: int = key(32, "A: channels of the first convolution (5x5, stride 2)")
    stem_batch_norm: bool = key(False, "batch normalisation in the stem and of primary capsules (variational Bayes)")
    types: list[int] = key([32, 32, 32], "B, C, D: capsule types of the primary and the two convolutional layers")
    pose_side: int = key(4, "rows and columns of a pose matrix")
    kernel: int = key(3, "kernel of the convolutional capsule layers")
    strides: list[int] = key([2, 1], "strides of the convolutional capsule layers")
    algorithm: RoutingAlgorithm = key(
        RoutingAlgorithm.em, "em, variational_bayes, self_routing, dynamic, max_min or uniform"
    )
    iterations: int = key(3, "routing iterations; self_routing and uniform have none")
    coordinates: bool = key(True, "add the position to the first two numbers of votes for classes")


@dataclass
class EfficientCapsNet:
    """The network of Mazzia, Salvetti and Chiaberge 2021."""

    name: str = key("efficient_capsnet", "what the model is called in tables", identity=False)
    primary_kernel: int = key(9, "kernel of the depthwise convolution")
    primary_types: int = key(16, "types of primary capsules; their dimensions times this are the 128 channels")
    class_dim: int = key(16, "dimensions of a class capsule's pose")
    squash: Squash = key(Squash.exponential, "squashing function")
    routing: Routing = field(default_factory=lambda: Routing(algorithm=RoutingAlgorithm.self_attention))
    reconstruction: bool = key(True, "build the decoder")
    decoder_hidden: list[int] = key([512, 1024], "hidden units of the decoder's layers")


@dataclass
class SelfRoutingResNet:
    """ResNet-20 with a self-routing class layer (Hahn, Pyeon and Kim 2019), or another routing algorithm."""

    name: str = key("self_routing_resnet", "what the model is called in tables", identity=False)
    planes: int = key(16, "channels of the first stage; the next two have twice and four times as many")
    blocks: int = key(3, "residual blocks in each of the three stages (3: ResNet-20)")
    types: int = key(32, "capsule types")
    dim: int = key(16, "dimensions of a capsule's pose")
    routing: Routing = field(default_factory=lambda: Routing(algorithm=RoutingAlgorithm.self_routing))


@dataclass
class InvertedAttentionNet:
    """ResNet backbone and three capsule layers with inverted dot-product attention (Tsai et al. 2020)."""

    name: str = key("inverted_attention_net", "what the model is called in tables", identity=False)
    backbone: list[int] = key([64, 128], "channels of the backbone's two stages (3 and 4 blocks)")
    types: list[int] = key([32, 32, 32], "capsule types of the primary and the two convolutional layers")
    pose_side: int = key(4, "rows and columns of a pose matrix")
    kernel: int = key(3, "kernel of the convolutional capsule layers")
    strides: list[int] = key([2, 1], "strides of the convolutional capsule layers")
    iterations: int = key(2, "routing iterations")
    concurrent: bool = key(
        True, "iteration t of all layers before iteration t + 1 of any (the paper), or layer by layer"
    )


@dataclass
class HvcNet:
    """Branching network with homogeneous vector capsules (Byerly, Kalganova and Dear 2021)."""

    name: str = key("hvc_net", "what the model is called in tables", identity=False)
    filters: int = key(32, "filters of the first of nine 3x3 convolutions")
    growth: int = key(16, "filters that each convolution has more than the one before")
    branches: list[int] = key([3, 6, 9], "convolutions after which a branch ends in class capsules")
    capsule_from_map: bool = key(True, "a capsule is one whole map (the published 1.5M network), else one position")
    learned_branch_weights: bool = key(True, "weigh the branches by learned numbers that start at one")


@dataclass
class DeepCaps:
    """DeepCaps (Rajasegaran et al. 2019): residual cells of convolutional capsules, one of them with routing."""

    name: str = key("deepcaps", "what the model is called in tables", identity=False)
    stem_channels: int = key(128, "channels of the first convolution")
    types: int = key(32, "capsule types of every layer")
    dims: list[int] = key([4, 8, 8, 8], "pose dimensions in the four cells")
    class_dim: int = key(32, "dimensions of a class capsule's pose")
    iterations: int = key(3, "routing iterations, of the last cell and of the class capsules")
    reconstruction: bool = key(True, "build the class-independent deconvolution decoder")


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


ITERATIVE = (
    RoutingAlgorithm.dynamic,
    RoutingAlgorithm.max_min,
    RoutingAlgorithm.em,
    RoutingAlgorithm.variational_bayes,
    RoutingAlgorithm.inverted_attention,
)
CONVOLUTIONAL = (
    RoutingAlgorithm.em,
    RoutingAlgorithm.variational_bayes,
    RoutingAlgorithm.self_routing,
    RoutingAlgorithm.dynamic,
    RoutingAlgorithm.max_min,
    RoutingAlgorithm.uniform,
)
OWN_ACTIVATION = (RoutingAlgorithm.em, RoutingAlgorithm.variational_bayes, RoutingAlgorithm.self_routing)
OWN_LOGITS = (RoutingAlgorithm.inverted_attention, RoutingAlgorithm.homogeneous)


def gives_activations(model: object) -> bool:
    """Whether a network's class scores are activations in [0, 1], such as capsule lengths, rather than logits."""
    match model:
        case CapsNet() | EfficientCapsNet():
            if model.routing.algorithm in OWN_ACTIVATION:
                return True
            return model.routing.algorithm not in OWN_LOGITS and model.squash not in (Squash.layer_norm, Squash.none)
        case SelfRoutingResNet():
            return model.routing.algorithm not in OWN_LOGITS
        case MatrixCapsNet() | DeepCaps():
            return True
        case _:
            return False


def routing_of(model: object) -> str:
    """Name of the routing algorithm of a network's last layer; empty for networks without capsules."""
    match model:
        case CapsNet() | EfficientCapsNet() | SelfRoutingResNet():
            return str(model.routing.algorithm)
        case MatrixCapsNet():
            return str(model.algorithm)
        case InvertedAttentionNet():
            return "inverted_attention"
        case HvcNet():
            return "homogeneous"
        case DeepCaps():
            return "dynamic"
        case _:
            return ""


def ignored_keys(model: object) -> list[str]:
    """Keys of a model, dotted, that its other keys leave without any effect, so that they are not part of its identity.

    Only what shipped models set, or what has to have some value: a key that someone must have set himself to no effect
    is refused in `checks.py`.
    """
    match model:
        case CapsNet() | EfficientCapsNet():
            return [name for name, ignored in _ignored_by_capsules(model) if ignored]
        case InvertedAttentionNet():
            return ["concurrent"] if model.iterations == 1 else []
        case Cnn():
            return ["windows"] if model.pooling is Pooling.none else []
        case _:
            return []


def _ignored_by_capsules(model: CapsNet | EfficientCapsNet) -> list[tuple[str, bool]]:
    algorithm, decoder = model.routing.algorithm, model.reconstruction
    dense = not isinstance(model, CapsNet) or model.decoder is DecoderKind.dense
    no_matrices = algorithm is RoutingAlgorithm.self_routing and not decoder
    return [
        ("decoder_hidden", not (decoder and dense)),
        ("bias", algorithm in (*OWN_ACTIVATION, *OWN_LOGITS)),
        ("class_dim", algorithm is RoutingAlgorithm.homogeneous or no_matrices),
        ("transforms", algorithm is RoutingAlgorithm.shared or no_matrices),
        ("routing.gradient", model.routing.iterations == 1),
    ]
