"""Every image with mean 0 and variance 1 before the network sees it, in training and in every evaluation.

It is part of the network's input, not of the data: so attacks, corruptions and reconstructions keep working on pixels
in [0, 1], and no evaluation can forget it.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn


def standardized(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """(x - mean) / max(deviation, 1 / sqrt(pixels)) over all pixels and channels of each image.

    The lower bound keeps uniform images finite. It and the biased deviation are those of the released code's
    `tf.image.per_image_standardization`, which works on pixels of 0..255: here the bound is as many 255ths.
    """
    least = 1 / (255 * math.sqrt(images[0].numel()))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (images - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (images - mean) / deviation.clamp(min=least)


def standardize_inputs(model: nn.Module) -> None:
    """Have `model` standardise the images it is called with; its weights keep their names."""
    model.register_forward_pre_hook(_standardize_first)


def _standardize_first(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    del module
    return (standardized(arguments[0].float()), *arguments[1:])
