"""Smaller or larger images, antialiased, a few at a time."""

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

AT_ONCE = 1000


def resized(
    images: UInt8[Tensor, "images channels height width"], size: int
) -> UInt8[Tensor, "images channels size size"]:
    """Images of another size; bilinear, averaging where they shrink."""
    parts = [
        functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True).round().clamp(0, 255).byte()
        for part in torch.split(images, AT_ONCE)
    ]
    return torch.cat(parts)
