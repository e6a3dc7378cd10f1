"""Does confidence mean what it says: expected calibration error and the reliability diagram behind it.

Confidence of a model with logits is its largest softmax probability. Confidence of a capsule network is the length of
its longest class capsule, which the paper reads as the probability that the class is present (Sabour, Frosst and Hinton
2017, section 2); lengths need not sum to one over the classes and are not scaled to.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from capsbench.evaluation.predict import Predictions
from capsbench.evaluation.result import Evaluated

BINS = 15


def evaluate(predictions: Predictions, labels: Int64[Tensor, "images"], *, lengths: bool) -> Evaluated:
    """Expected calibration error over 15 equal bins (Guo et al. 2017).

    Args:
        predictions: of the test images.
        labels: their classes.
        lengths: whether scores are capsule lengths rather than logits.

    Returns:
        Number `test/ece`, figure `calibration` (edges, and count, confidence and accuracy of each bin, None where it is
        empty). Without the number, and without the figure, when a score is not finite.
    """
    sure = confidence(predictions.scores, lengths=lengths)
    if not torch.isfinite(sure).all():
        return Evaluated()
    correct = predictions.predicted == labels.cpu()
    error = binary_calibration_error(sure, correct.long(), n_bins=BINS, norm="l1", validate_args=False)
    return Evaluated({"test/ece": float(error)}, {"calibration": reliability(sure, correct)})


def confidence(scores: Float32[Tensor, "images classes"], *, lengths: bool) -> Float32[Tensor, "images"]:
    """How sure a model is of its own prediction, in [0, 1]."""
    if lengths:
        return scores.amax(dim=1).clamp(0, 1)
    return scores.softmax(dim=1).amax(dim=1)


def reliability(sure: Float32[Tensor, "images"], correct: Tensor) -> dict[str, list[float | None]]:
    """Count, mean confidence and accuracy of the images in each bin of confidence."""
    edges = torch.linspace(0, 1, BINS + 1)
    index = torch.bucketize(sure, edges[1:-1])
    counts = torch.bincount(index, minlength=BINS)
    confidences = torch.bincount(index, weights=sure.double(), minlength=BINS) / counts
    accuracies = torch.bincount(index, weights=correct.double(), minlength=BINS) / counts
    return {
        "edges": edges.tolist(),
        "count": counts.tolist(),
        "confidence": [value if count else None for value, count in zip(confidences.tolist(), counts, strict=True)],
        "accuracy": [value if count else None for value, count in zip(accuracies.tolist(), counts, strict=True)],
    }
