"""Which test images only one of two arms gets wrong: what a difference in error counts is made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from capsbench.report.analysis import comparable_runs, same_images
from capsbench.report.collect import SELECTED, Ablation, RunRecord

TEST = "test/errors"


@dataclass(frozen=True)
class Disagreement:
    """Two arms on the same test images; an arm gets an image wrong when most of its seeds do.

    Attributes:
        a: name of arm A.
        b: name of arm B.
        both: images that both get wrong.
        neither: images that both get right.
        only_a: images that only A gets wrong, the clearest case first.
        only_b: images that only B gets wrong, the clearest case first.
        wrong_a: share of A's seeds that are wrong on each image.
        wrong_b: share of B's seeds that are wrong on each image.
        seen_a: class that A's wrong seeds most often take each image for.
        seen_b: the same of B's.
        labels: true classes.
    """

    a: str
    b: str
    both: int
    neither: int
    only_a: Int[np.ndarray, "images_a"]
    only_b: Int[np.ndarray, "images_b"]
    wrong_a: Float[np.ndarray, "images"]
    wrong_b: Float[np.ndarray, "images"]
    seen_a: UInt8[np.ndarray, "images"]
    seen_b: UInt8[np.ndarray, "images"]
    labels: UInt8[np.ndarray, "images"]


def disagreements(ablation: Ablation) -> list[Disagreement]:
    """One for every declared comparison whose arms have predictions of the same test images."""
    found = (disagreement(ablation, a, b) for a, b in ablation.sweep.comparisons)
    return [one for one in found if one is not None]


def disagreement(ablation: Ablation, a: str, b: str) -> Disagreement | None:
    """Compare two arms image by image at the sweep's checkpoint; None where they cannot be compared."""
    checkpoint = ablation.sweep.checkpoint
    runs_a, runs_b = (comparable_runs(ablation.arms[name], TEST, checkpoint) for name in (a, b))
    if not runs_a or not runs_b or not same_images(runs_a[0], runs_b[0], TEST):
        return None
    predicted_a, predicted_b = (_predicted(runs, checkpoint) for runs in (runs_a, runs_b))
    labels = np.asarray(runs_a[0].predictions.label if runs_a[0].predictions else [])
    wrong_a, wrong_b = ((predicted != labels).mean(axis=0) for predicted in (predicted_a, predicted_b))
    mostly_a, mostly_b = wrong_a > 0.5, wrong_b > 0.5
    return Disagreement(
        a=a,
        b=b,
        both=int(np.count_nonzero(mostly_a & mostly_b)),
        neither=int(np.count_nonzero(~mostly_a & ~mostly_b)),
        only_a=_clearest(mostly_a & ~mostly_b, wrong_a - wrong_b),
        only_b=_clearest(mostly_b & ~mostly_a, wrong_b - wrong_a),
        wrong_a=wrong_a,
        wrong_b=wrong_b,
        seen_a=_mistaken_for(predicted_a, labels),
        seen_b=_mistaken_for(predicted_b, labels),
        labels=labels,
    )


def _predicted(runs: list[RunRecord], checkpoint: str) -> UInt8[np.ndarray, "seeds images"]:
    kept = [run.predictions for run in runs if run.predictions]
    rows = [one.selected if checkpoint == SELECTED else one.last for one in kept]
    return np.array([row for row in rows if row is not None])


def _clearest(chosen: np.ndarray, gap: np.ndarray) -> Int[np.ndarray, "images"]:
    places = np.flatnonzero(chosen)
    return places[np.argsort(-gap[places], kind="stable")]


def _mistaken_for(
    predicted: UInt8[np.ndarray, "seeds images"], labels: UInt8[np.ndarray, "images"]
) -> UInt8[np.ndarray, "images"]:
    """The wrong class most seeds see, the smallest of equals; the true class where no seed is wrong."""
    seen = labels.copy()
    wrong = predicted != labels
    for image in np.flatnonzero(wrong.any(axis=0)):
        seen[image] = np.bincount(predicted[wrong[:, image], image]).argmax()
    return seen
