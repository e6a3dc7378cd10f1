"""A model's answers to many images, in batches, without waiting for the device between them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from capsbench.data.batches import to_unit

# Makes the context one batch is computed in, such as `lambda: torch.autocast("cuda", torch.bfloat16)`.
Precision = Callable[[], AbstractContextManager[Any]]


class Predictions(NamedTuple):
    """Scores and decisions, on the CPU, in the order of the images.

    Attributes:
        scores: as the model gives them: logits or capsule lengths.
        predicted: index of the largest score.
    """

    scores: Float32[Tensor, "images classes"]
    predicted: Int64[Tensor, "images"]


def predict(
    model: nn.Module,
    images: UInt8[Tensor, "images channels height width"],
    device: torch.device,
    batch_size: int,
    pad: int = 0,
    precision: Precision = nullcontext,
) -> Predictions:
    """Run images through a model.

    Args:
        model: in eval mode, on `device`.
        images: pixels 0..255 on any device, at least one.
        device: where the model is.
        batch_size: images per forward pass.
        pad: zero pixels added on every side.
        precision: makes the context of a forward pass; none by default.
    """
    return predict_batches(model, padded_batches(images, device, batch_size, pad), precision)


def padded_batches(
    images: UInt8[Tensor, "images channels height width"], device: torch.device, batch_size: int, pad: int
) -> Iterator[UInt8[Tensor, "batch channels padded_height padded_width"]]:
    """Images in their order, on the device, with `pad` zero pixels on every side; the last batch may be shorter."""
    for start in range(0, len(images), batch_size):
        yield functional.pad(images[start : start + batch_size].to(device), [pad] * 4)


def predict_batches(
    model: nn.Module,
    batches: Iterable[UInt8[Tensor, "batch channels height width"]],
    precision: Precision = nullcontext,
) -> Predictions:
    """Run batches of images, made as they are needed, through a model on the same device."""
    scores = []
    with torch.inference_mode():
        for images in batches:
            pixels = to_unit(images)
            with precision():
                output = model(pixels)
            scores.append(output.scores.float())
        together = torch.cat(scores).cpu()
    # Ordinary tensors: inference tensors may not meet autograd later.
    together = together.clone()
    return Predictions(together, together.argmax(dim=1))
