"""What a class capsule's dimensions mean: reconstructions as one of them is moved (Sabour et al. 2017, figure 4).

Letters: N images, E pose dimensions, O offsets, J classes.
"""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.splits import Splits
from capsbench.evaluation.predict import Precision
from capsbench.evaluation.reconstructions import one_of_each
from capsbench.evaluation.result import Evaluated

OFFSETS = tuple(step / 100 for step in range(-25, 26, 5))


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Test images rebuilt from their true class's capsule with one dimension at a time moved by -0.25 to 0.25.

    Args:
        model: in eval mode, on `device`.
        splits: the first test image of `evaluation.perturbations` different classes is taken.
        cfg: reads `evaluation.perturbations` and `data.pad`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Arrays `perturbed` (N, E, O, C, H, W) as bytes, `perturbed_images` (N, C, H, W), `perturbed_labels` (N,) and
        `perturbed_offsets` (O,). Empty for models without a decoder.
    """
    decoder = getattr(model, "decoder", None)
    chosen = one_of_each(splits.test_labels.cpu(), cfg.evaluation.perturbations)
    if decoder is None or not len(chosen):
        return Evaluated()
    images = functional.pad(splits.test_images.cpu()[chosen], [cfg.data.pad] * 4)
    labels = splits.test_labels.cpu()[chosen]
    with torch.inference_mode(), precision():
        poses_NJE = model(to_unit(images.to(device))).poses
        rebuilt = [
            perturbed(decoder, pose_JE, int(label)).cpu() for pose_JE, label in zip(poses_NJE, labels, strict=True)
        ]
    return Evaluated(
        arrays={
            "perturbed": torch.stack(rebuilt).numpy(),
            "perturbed_images": images.numpy(),
            "perturbed_labels": labels.numpy().astype(np.min_scalar_type(len(splits.classes) - 1)),
            "perturbed_offsets": np.array(OFFSETS, dtype=np.float32),
        }
    )


def perturbed(
    decoder: Callable[[Tensor, Tensor], Tensor], pose_JE: Float[Tensor, "classes dim"], label: int
) -> UInt8[Tensor, "dim offsets channels height width"]:
    """One image's reconstructions, a row for each dimension of the capsule of class `label`."""
    dims, offsets = pose_JE.shape[1], torch.tensor(OFFSETS, device=pose_JE.device, dtype=pose_JE.dtype)
    moves_EOE = torch.eye(dims, device=pose_JE.device, dtype=pose_JE.dtype)[:, None, :] * offsets[None, :, None]
    poses_BJE = pose_JE.repeat(dims * len(offsets), 1, 1)
    poses_BJE[:, label] += moves_EOE.flatten(0, 1)
    chosen: Int64[Tensor, " batch"] = torch.full((len(poses_BJE),), label, device=pose_JE.device)
    pixels = decoder(poses_BJE, chosen)
    images = pixels.float().mul(255).round().clamp(0, 255).to(torch.uint8)
    return images.view(dims, len(offsets), *images.shape[1:])
