"""Does a class capsule's pose say how the object lies, as capsules promise, in a way a linear map can read?

Sabour, Frosst and Hinton 2017 (section 5.1) look at single dimensions of the digit capsules and see scale, thickness,
skew and width. Here a linear probe is fitted from the whole pose of the true class to how the image was transformed and
to its stroke thickness; a CNN's last features, cut to the same number of dimensions, have to answer the same questions.
"""

from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn

from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.splits import Splits
from capsbench.evaluation.predict import Precision, padded_batches
from capsbench.evaluation.probe import cross_validated_r2
from capsbench.evaluation.result import Evaluated
from capsbench.evaluation.subset import subset
from capsbench.evaluation.thickness import stroke_thickness
from capsbench.evaluation.transforms import PARAMETERS, draw_parameters, transform

POSE_STREAM = 13


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Cross-validated R2 of linear probes on affNIST-like test images.

    An image's own slant, size and width are part of what the network sees but not of the stored parameters, so no probe
    can reach an R2 of 1; compare models.

    Args:
        model: in eval mode, on `device`.
        splits: test images; `evaluation.pose.images` of them are transformed once each.
        cfg: reads `evaluation.pose`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers `pose/<target>_r2` for the six parameters of `transforms` and, for images of one channel, `thickness`,
        and their mean `pose/mean_r2`; figure `pose` (targets, r2, and what was probed). Empty when
        `evaluation.pose.enabled` is false or the model has no poses.
    """
    asked, pad = cfg.evaluation.pose, cfg.data.pad
    if not asked.enabled:
        return Evaluated()
    chosen = subset(len(splits.test_images), asked.images, asked.seed, POSE_STREAM)
    originals, labels = splits.test_images.cpu()[chosen], splits.test_labels.cpu()[chosen]
    parameters = draw_parameters(originals, 1, pad, asked.seed)[:, 0]
    images = transform(originals, parameters, pad)
    poses = true_poses(model, images, labels, device, cfg.trainer.eval_batch_size, precision)
    if poses is None:
        return Evaluated()
    names, targets = list(PARAMETERS), parameters.double().numpy()
    if images.shape[1] == 1:
        names.append("thickness")
        targets = np.column_stack([targets, stroke_thickness(images[:, 0].numpy())])
    r2 = cross_validated_r2(
        poses.double().numpy(),
        targets,
        labels.numpy(),
        folds=asked.folds,
        dimensions=asked.dimensions,
        seed=asked.seed,
    )
    known = {name: float(value) for name, value in zip(names, r2, strict=True) if np.isfinite(value)}
    numbers = {f"pose/{name}_r2": value for name, value in known.items()}
    if known:
        numbers["pose/mean_r2"] = float(np.mean(list(known.values())))
    about = {
        "targets": list(known),
        "r2": list(known.values()),
        "images": len(chosen),
        "pose_size": poses.shape[1],
        "probed_size": min(poses.shape[1], asked.dimensions),
    }
    return Evaluated(numbers, {"pose": about})


def true_poses(
    model: nn.Module,
    images: UInt8[Tensor, "images channels height width"],
    labels: Int64[Tensor, "images"],
    device: torch.device,
    batch_size: int,
    precision: Precision = nullcontext,
) -> Float32[Tensor, "images dim"] | None:
    """Pose of each image's true class, or a CNN's features, on the CPU; None for a model that has neither.

    Args:
        model: in eval mode, on `device`.
        images: as the model sees them, padding included.
        labels: their classes.
        device: where the model is.
        batch_size: images per forward pass.
        precision: makes the context of a forward pass.
    """
    found = []
    with torch.inference_mode():
        for start, batch in zip(
            range(0, len(images), batch_size), padded_batches(images, device, batch_size, 0), strict=True
        ):
            classes = labels[start : start + batch_size].to(device)
            with precision():
                poses_BJE = model(to_unit(batch)).poses
            if poses_BJE is None:
                return None
            which = classes if poses_BJE.shape[1] > 1 else torch.zeros_like(classes)
            found.append(poses_BJE[torch.arange(len(batch), device=device), which].float())
        together = torch.cat(found).cpu()
    return together.clone()
