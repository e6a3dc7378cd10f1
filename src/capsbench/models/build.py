"""From a model's configuration to the network."""

from torch import nn

from capsbench import config_models as keys
from capsbench.errors import CapsbenchError
from capsbench.models.capsnet import CapsNet
from capsbench.models.cnn import Cnn
from capsbench.models.deepcaps import DeepCaps
from capsbench.models.efficient_capsnet import EfficientCapsNet
from capsbench.models.hvc_net import HvcNet
from capsbench.models.inverted_attention_net import InvertedAttentionNet
from capsbench.models.matrix_capsnet import MatrixCapsNet
from capsbench.models.self_routing_resnet import SelfRoutingResNet


def build_model(cfg: object, channels: int, size: int, classes: int) -> nn.Module:
    """The network that `cfg` describes, for square images.

    Args:
        cfg: one of the dataclasses of `config_models`.
        channels: image channels.
        size: height and width of the images the network will see, padding included.
        classes: number of classes.

    Raises:
        CapsbenchError: if the network cannot be built for such images.
    """
    match cfg:
        case keys.CapsNet():
            return CapsNet(cfg, channels, size, classes)
        case keys.Cnn():
            return Cnn(cfg, channels, size, classes)
        case keys.EfficientCapsNet():
            return EfficientCapsNet(cfg, channels, size, classes)
        case keys.MatrixCapsNet():
            return MatrixCapsNet(cfg, channels, size, classes)
        case keys.SelfRoutingResNet():
            return SelfRoutingResNet(cfg, channels, size, classes)
        case keys.InvertedAttentionNet():
            return InvertedAttentionNet(cfg, channels, size, classes)
        case keys.HvcNet():
            return HvcNet(cfg, channels, size, classes)
        case keys.DeepCaps():
            return DeepCaps(cfg, channels, size, classes)
        case _:
            raise CapsbenchError(f"no network is known for a model configuration of type {type(cfg).__name__}")
