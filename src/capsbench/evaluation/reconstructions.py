"""Test images beside what the decoder makes of their longest capsule (Sabour, Frosst, Hinton 2017, section 5.1)."""

from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn import functional

from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.splits import Splits
from capsbench.evaluation.predict import Precision
from capsbench.evaluation.result import Evaluated


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """The first `evaluation.reconstructions` test images of different classes with their reconstructions.

    The decoder sees the capsule that the model itself chose, never the true class.

    Args:
        model: in eval mode, on `device`.
        splits: has the test images.
        cfg: reads `evaluation.reconstructions` and `data.pad`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Arrays `images` and `reconstructions` (n, C, H, W) as bytes, padding included, `labels` and `predicted` (n,).
        Empty for models without a decoder.
    """
    chosen = one_of_each(splits.test_labels.cpu(), cfg.evaluation.reconstructions)
    if not len(chosen):
        return Evaluated()
    images = functional.pad(splits.test_images.cpu()[chosen], [cfg.data.pad] * 4)
    with torch.inference_mode(), precision():
        output = model(to_unit(images.to(device)))
    if output.reconstruction is None:
        return Evaluated()
    rebuilt = output.reconstruction.float().mul(255).round().clamp(0, 255).to(torch.uint8)
    classes = np.min_scalar_type(len(splits.classes) - 1)
    return Evaluated(
        arrays={
            "images": images.numpy(),
            "reconstructions": rebuilt.cpu().numpy(),
            "labels": splits.test_labels.cpu()[chosen].numpy().astype(classes),
            "predicted": output.scores.argmax(dim=1).cpu().numpy().astype(classes),
        }
    )


def one_of_each(labels: Int64[Tensor, "images"], count: int) -> Int64[Tensor, "count"]:
    """Positions of the first image of every class, then of the second of every class, and so on, `count` in all."""
    position: dict[int, int] = {}
    turns = []
    for label in labels.tolist():
        turns.append(position.get(label, 0))
        position[label] = turns[-1] + 1
    order = np.lexsort((labels.numpy(), np.array(turns)))
    return torch.from_numpy(order[: max(count, 0)])
