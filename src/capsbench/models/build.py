"""From a model's configuration to the network."""

from torch import nn

from capsbench import config_models as keys
from capsbench.errors import CapsbenchError
from capsbench.models.capsnet import CapsNet
from capsbench.models.cnn import Cnn


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
        case _:
            raise CapsbenchError(f"no network is known for a model configuration of type {type(cfg).__name__}")
