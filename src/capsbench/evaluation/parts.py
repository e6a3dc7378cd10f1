"""Does a model claim an object whose parts are there, but in the wrong places?

Every image keeps its local features (see `rearranged`) and loses its whole. A model that recognises wholes should say
"none of the classes", which here means: its confidence is below a threshold that nearly all clean images pass.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from scipy.stats import rankdata
from torch import Tensor, nn

from capsbench.config import Config, is_capsule_model
from capsbench.config_evaluation import Parts
from capsbench.data.overlap import fixed_pairs
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation.calibration import confidence
from capsbench.evaluation.predict import Precision, Predictions, predict
from capsbench.evaluation.rearranged import grid_shuffled, halves_swapped, mixed
from capsbench.evaluation.result import Evaluated
from capsbench.evaluation.subset import subset

PARTS_STREAM = 16
MIXED_CELLS = (2, 4)


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """How often and how confidently the class of the unspoilt image is still claimed.

    Conditions: `grid<n>` (n by n parts rearranged), `swapped_sides`, `swapped_ends` (halves), `mixed<n>` (every second
    of n by n parts from an image of another class; both classes count as the original one). Images are rearranged
    before padding.

    Args:
        model: in eval mode, on `device`.
        splits: validation images for the threshold, test images to rearrange.
        cfg: reads `evaluation.parts`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers `parts/threshold`, and for `clean` and every condition
        `parts/<condition>_claimed`, share whose original class is predicted with a confidence above the threshold;
        `parts/<condition>_accepted`, share with such a confidence in any class;
        `parts/<condition>_same`, share whose original class is predicted, however confidently;
        `parts/<condition>_confidence`, mean confidence;
        `parts/<condition>_auroc`, how well confidence tells clean from rearranged images (not for `clean`).
        Figure `parts`, the same by condition. Empty when `evaluation.parts.enabled` is false.

    Raises:
        CapsbenchError: there are no validation images to calibrate on, or a grid has fewer than 2 by 2 parts.
    """
    asked = cfg.evaluation.parts
    if not asked.enabled:
        return Evaluated()
    if not len(splits.validation_images):
        raise CapsbenchError("evaluation.parts calibrates on validation images; data.validation_images=0 leaves none")
    size, pad, lengths = cfg.trainer.eval_batch_size, cfg.data.pad, is_capsule_model(cfg.model)
    clean = predict(model, splits.validation_images, device, size, pad, precision)
    threshold = none_threshold(confidence(clean.scores, lengths=lengths), asked.accepted)
    chosen = subset(len(splits.test_images), asked.images, asked.seed, PARTS_STREAM)
    images, labels = splits.test_images.cpu()[chosen], splits.test_labels.cpu()[chosen]
    numbers, figures = {"parts/threshold": threshold}, {}
    unspoilt: Float32[Tensor, " images"] | None = None
    for name, spoilt, original in conditions(images, labels, asked):
        answers = predict(model, spoilt, device, size, pad, precision)
        sure = confidence(answers.scores, lengths=lengths)
        found = claims(answers, sure, original, threshold)
        if unspoilt is None:
            unspoilt = sure
        else:
            found["auroc"] = auroc(unspoilt, sure)
        numbers |= {f"parts/{name}_{what}": value for what, value in found.items()}
        figures[name] = found
    return Evaluated(numbers, {"parts": {"threshold": threshold, "images": len(chosen), "conditions": figures}})


def conditions(
    images: Tensor, labels: Int64[Tensor, " images"], asked: Parts
) -> Iterator[tuple[str, Tensor, Int64[Tensor, "images originals"]]]:
    """Name, images and classes that are in them, first of the clean images."""
    yield "clean", images, labels[:, None]
    for cells in asked.grids:
        if cells < 2:
            raise CapsbenchError(f"evaluation.parts.grids={asked.grids}: expected numbers of 2 or more")
        yield f"grid{cells}", grid_shuffled(images, cells, asked.seed), labels[:, None]
    yield "swapped_sides", halves_swapped(images, upright=False), labels[:, None]
    yield "swapped_ends", halves_swapped(images, upright=True), labels[:, None]
    if len(torch.unique(labels)) > 1:
        partners = fixed_pairs(labels, each=1, shift=0, seed=asked.seed).index[:, 1]
        for cells in MIXED_CELLS:
            yield f"mixed{cells}", mixed(images, images[partners], cells), torch.stack([labels, labels[partners]], 1)


def claims(
    answers: Predictions,
    sure: Float32[Tensor, " images"],
    original: Int64[Tensor, "images originals"],
    threshold: float,
) -> dict[str, float]:
    """Shares claimed, accepted and predicted as before, and mean confidence."""
    same: Bool[Tensor, " images"] = (answers.predicted[:, None] == original).any(dim=1)
    accepted = sure >= threshold
    return {
        "claimed": (same & accepted).double().mean().item(),
        "accepted": accepted.double().mean().item(),
        "same": same.double().mean().item(),
        "confidence": sure.double().mean().item(),
    }


def none_threshold(clean: Float32[Tensor, " images"], accepted: float) -> float:
    """Largest confidence that at least the share `accepted` of clean images reaches; below it the answer is none."""
    ordered = clean.sort(descending=True).values
    return float(ordered[min(len(ordered), max(1, int(np.ceil(accepted * len(ordered) - 1e-9)))) - 1])


def auroc(clean: Float32[Tensor, " images"], spoilt: Float32[Tensor, " others"]) -> float:
    """Probability that a clean image is more confident than a spoilt one, ties counting half (Mann and Whitney)."""
    ranks = rankdata(np.concatenate([clean.numpy(), spoilt.numpy()]))[: len(clean)]
    return float((ranks.sum() - len(clean) * (len(clean) + 1) / 2) / (len(clean) * len(spoilt)))
