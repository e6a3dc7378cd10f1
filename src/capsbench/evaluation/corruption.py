"""Error under fifteen corruptions at five severities, and accuracy far away from the middle and from upright.

The corruptions are those of MNIST-C (Mu and Gilmer 2019, "MNIST-C: A robustness benchmark for computer vision"),
**re-implemented** from the paper and its published strengths: they are not the published images, and four of them have
severities here that MNIST-C has not (see `corruptions.marks`). Compare models by them, not with published numbers.
"""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn import functional

from capsbench.config import Config
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation.affine import area, curve_parameters
from capsbench.evaluation.corruptions.blur import glass_blur, motion_blur
from capsbench.evaluation.corruptions.geometry import rotate, scale, shear, translate
from capsbench.evaluation.corruptions.marks import canny_edges, dotted_line, stripe, zigzag
from capsbench.evaluation.corruptions.noise import Pixels, impulse_noise, shot_noise
from capsbench.evaluation.corruptions.weather import brightness, fog, spatter
from capsbench.evaluation.predict import Precision, predict
from capsbench.evaluation.result import Evaluated
from capsbench.evaluation.subset import subset
from capsbench.evaluation.transforms import transform

CORRUPTIONS: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "shear": shear,
    "scale": scale,
    "rotate": rotate,
    "brightness": brightness,
    "translate": translate,
    "stripe": stripe,
    "fog": fog,
    "spatter": spatter,
    "dotted_line": dotted_line,
    "zigzag": zigzag,
    "canny_edges": canny_edges,
}
# Degrees, to either side in turn, and pixels in the eight directions in turn.
CURVES: dict[str, tuple[float, ...]] = {
    "rotation": tuple(15.0 * step for step in range(13)),
    "translation": tuple(float(step) for step in range(9)),
}
SUBSET_STREAM, DRAW_STREAM = 17, 18


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Errors on corrupted test images, and the two curves.

    Args:
        model: in eval mode, on `device`.
        splits: test images of any size and number of channels; they are padded first and corrupted then.
        cfg: reads `evaluation.corruption`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers, shares of wrong answers: `corruption/clean_error`, `corruption/<name>_error` (mean over severities) and
        `corruption/mean_error`, the mean over all, not divided by another model's errors; `corruption/rotation180_auc`
        and `corruption/translation8_auc`, areas under the curves of accuracy in [0, 1]. Figure `corruption`. Empty when
        `evaluation.corruption.enabled` is false.

    Raises:
        CapsbenchError: a severity is not 1 to 5.
    """
    asked, pad, size = cfg.evaluation.corruption, cfg.data.pad, cfg.trainer.eval_batch_size
    if not asked.enabled:
        return Evaluated()
    if not asked.severities or not set(asked.severities) <= set(range(1, 6)):
        raise CapsbenchError(f"evaluation.corruption.severities={asked.severities}: expected numbers from 1 to 5")
    chosen = subset(len(splits.test_images), asked.images, asked.seed, SUBSET_STREAM)
    originals, labels = splits.test_images.cpu()[chosen], splits.test_labels.cpu()[chosen]
    images = functional.pad(originals, [pad] * 4)

    def accuracy(shown: Tensor) -> float:
        predicted = predict(model, shown, device, size, 0, precision).predicted
        return (predicted == labels).double().mean().item()

    errors = {
        name: [1 - accuracy(corrupted(images, name, severity, asked.seed)) for severity in asked.severities]
        for name in CORRUPTIONS
    }
    curves = {}
    for factor, levels in CURVES.items():
        plans = [curve_parameters(factor, level, len(chosen)) for level in levels]
        for plan in plans:
            plan[1::2, 0] *= -1
        curves[factor] = {
            "levels": list(levels),
            "accuracy": [accuracy(transform(originals, plan, pad)) for plan in plans],
        }
    numbers = {"corruption/clean_error": 1 - accuracy(images)}
    numbers |= {f"corruption/{name}_error": float(np.mean(found)) for name, found in errors.items()}
    numbers["corruption/mean_error"] = float(np.mean(list(errors.values())))
    for name, factor in (("rotation180", "rotation"), ("translation8", "translation")):
        numbers[f"corruption/{name}_auc"] = area(curves[factor]["levels"], curves[factor]["accuracy"])
    about = {
        "kind": "MNIST-C re-implemented",
        "images": len(chosen),
        "severities": list(asked.severities),
        "errors": errors,
        "curves": curves,
    }
    return Evaluated(numbers, {"corruption": about})


def corrupted(
    images: UInt8[Tensor, "images channels height width"], name: str, severity: int, seed: int
) -> UInt8[Tensor, "images channels height width"]:
    """Images under one corruption, the same for the same arguments and version of NumPy.

    Args:
        images: pixels 0..255 on the CPU.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of the generator.
    """
    stream = [seed, DRAW_STREAM, list(CORRUPTIONS).index(name), severity]
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence(stream)))
    pixels = CORRUPTIONS[name](images.numpy().astype(np.float32) / np.float32(255), severity, draw)
    return torch.from_numpy(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
