"""Affine robustness: accuracy on an affNIST-like set, and curves over one transformation at a time.

Sabour, Frosst and Hinton 2017 (section 5.1) train on shifted digits and test on affNIST, affine transformations never
seen in training. The set here is synthetic, see `transforms`; nothing is ever selected by it.
"""

from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from capsbench.config import Config
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation.predict import Precision, predict_batches
from capsbench.evaluation.result import Evaluated
from capsbench.evaluation.subset import subset
from capsbench.evaluation.transforms import IDENTITY, PARAMETERS, draw_parameters, fits, transform

# What each curve is measured at: signed degrees, factor on height and width, signed slope, pixels.
LEVELS: dict[str, tuple[float, ...]] = {
    "rotation": (-90.0, -75.0, -60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0),
    "scale": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5),
    "shear": (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0),
    "translation": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
}
DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
SET_STREAM, CURVE_STREAM = 10, 11


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Accuracy on the affNIST-like set made of the test images, and the four curves with their areas.

    The frame is the images' size plus `data.pad` on every side, as in training: 6 gives the 40x40 protocol for MNIST, 0
    the 28x28 form, in which the largest digits are cut (the share that fits is in the figures).

    Args:
        model: in eval mode, on `device`.
        splits: test images of any size and number of channels.
        cfg: reads `evaluation.affine`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers `affine/accuracy`, `affine/errors` and, with curves, `affine/<factor>_auc` in [0, 1]; figures `affine`
        (levels and accuracy by factor) and `affine_set`; arrays `affine_label`, `affine_predicted`,
        `affine_parameters` (in the order of `transforms.PARAMETERS`) and `affine_image` (position of the original in
        the test set). Empty when `evaluation.affine.enabled` is false.

    Raises:
        CapsbenchError: if `evaluation.affine` asks for no image or no variant.
    """
    asked = cfg.evaluation.affine
    if not asked.enabled:
        return Evaluated()
    _check(cfg)
    images, labels, pad = splits.test_images, splits.test_labels, cfg.data.pad
    chosen = subset(len(images), asked.images, asked.seed, SET_STREAM)
    drawn = draw_parameters(images, asked.variants, pad, asked.seed)[chosen]
    parameters = drawn.flatten(0, 1)
    index = chosen.repeat_interleave(asked.variants)
    curve_index = subset(len(images), asked.curve_images, asked.seed, CURVE_STREAM)
    points = [(factor, level) for factor, levels in LEVELS.items() for level in levels] if len(curve_index) else []

    plan_index = torch.cat([index, curve_index.repeat(len(points))])
    plan = torch.cat([parameters, *(curve_parameters(factor, level, len(curve_index)) for factor, level in points)])
    held = images.to(device)
    size = cfg.trainer.eval_batch_size
    rendered = (
        transform(held[plan_index[start : start + size].to(device)], plan[start : start + size], pad)
        for start in range(0, len(plan), size)
    )
    predicted = predict_batches(model, rendered, precision).predicted
    correct = predicted == labels.cpu()[plan_index]

    set_correct, curve_correct = correct[: len(index)], correct[len(index) :].reshape(len(points), len(curve_index))
    accuracy = dict(zip(points, curve_correct.double().mean(dim=1).tolist(), strict=True)) if points else {}
    curves = _curves(accuracy) if points else {}
    numbers = {"affine/accuracy": set_correct.double().mean().item(), "affine/errors": float((~set_correct).sum())}
    numbers |= {f"affine/{factor}_auc": area(curve["levels"], curve["accuracy"]) for factor, curve in curves.items()}
    originals = images[chosen.to(images.device)]
    about = {
        "kind": "affNIST-like (synthetic)",
        "images": len(index),
        "variants": asked.variants,
        "seed": asked.seed,
        "frame": [images.shape[2] + 2 * pad, images.shape[3] + 2 * pad],
        "share_inside_frame": float(np.mean([fits(originals, how, pad).double().mean() for how in drawn.unbind(1)])),
        "parameters": list(PARAMETERS),
        "curve_images": len(curve_index),
    }
    classes = np.min_scalar_type(len(splits.classes) - 1)
    arrays = {
        "affine_label": labels.cpu()[index].numpy().astype(classes),
        "affine_predicted": predicted[: len(index)].numpy().astype(classes),
        "affine_parameters": parameters.numpy(),
        "affine_image": index.numpy().astype(np.int32),
    }
    return Evaluated(numbers, {"affine": curves, "affine_set": about}, arrays)


def curve_parameters(factor: str, level: float, count: int) -> Float32[Tensor, "count 6"]:
    """The transformations behind one point of a curve.

    Translation moves every image `level` pixels along a row, a column or both; the images take the eight directions in
    turn. Without padding, digits begin to leave the frame at about five pixels.

    Args:
        factor: a key of `LEVELS`.
        level: its strength.
        count: number of images.
    """
    parameters = torch.tensor(IDENTITY).repeat(count, 1)
    if factor == "rotation":
        parameters[:, 0] = level
    elif factor == "shear":
        parameters[:, 1] = level
    elif factor == "scale":
        parameters[:, 2:4] = level
    else:
        directions = torch.tensor(DIRECTIONS, dtype=torch.float32)
        parameters[:, 4:] = level * directions[torch.arange(count) % len(directions)]
    return parameters


def area(levels: list[float], accuracy: list[float]) -> float:
    """Area under a curve by trapezoids, divided by the range of levels: a constant curve's area is the constant."""
    return float(np.trapezoid(accuracy, levels) / (levels[-1] - levels[0]))


def _curves(accuracy: dict[tuple[str, float], float]) -> dict[str, dict[str, list[float]]]:
    return {
        factor: {"levels": list(levels), "accuracy": [accuracy[factor, level] for level in levels]}
        for factor, levels in LEVELS.items()
    }


def _check(cfg: Config) -> None:
    asked = cfg.evaluation.affine
    if asked.images is not None and asked.images < 1:
        raise CapsbenchError(f"evaluation.affine.images={asked.images}: expected 1 or more, or null for all")
    if asked.variants < 1:
        raise CapsbenchError(f"evaluation.affine.variants={asked.variants}: expected 1 or more")
    if asked.curve_images < 0:
        raise CapsbenchError(f"evaluation.affine.curve_images={asked.curve_images}: expected 0 (no curves) or more")
    if asked.seed < 0:
        raise CapsbenchError(f"evaluation.affine.seed={asked.seed}: expected 0 or more")
