"""The statistics of an ablation: one summary per arm, one comparison per declared pair, and the exploratory rest.

Declared comparisons share one Holm family whose size is fixed by the sweep file: a pair without runs keeps its place,
so that a half-finished sweep is not corrected less than a whole one. Everything else is exploratory and uncorrected.
"""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from capsbench.report.collect import AFFINE, Ablation, ArmRuns, RunRecord
from capsbench.report.statistics.bootstrap import two_way_interval
from capsbench.report.statistics.intervals import Summary, summarize, wilson
from capsbench.report.statistics.paired import Paired, holm, paired_comparison
from capsbench.report.statistics.seeds import Canary, SeedSpread, canary, permutation_p, probability_better

# All pairs of more arms than this are a wall of numbers that nobody asked for.
EXPLORED_ARMS = 8


@dataclass(frozen=True)
class ArmSummary:
    """One arm's errors on the sweep's metric and checkpoint.

    Attributes:
        runs: the arm's runs.
        counts: error count by seed, of the finished runs.
        images: images behind each count; 0 where unknown.
        error: error rate in % over seeds; None without a finished run.
        wilson: 95 % interval in % of a single run with the mean error count.
        canary: whether the seeds differ as much as they should; None without a finished run.
    """

    runs: ArmRuns
    counts: dict[int, int]
    images: int
    error: Summary | None
    wilson: tuple[float, float] | None
    canary: Canary | None


@dataclass(frozen=True)
class Comparison:
    """Arm B against arm A; positive differences mean that B makes more errors.

    Attributes:
        a: name of arm A.
        b: name of arm B.
        metric: the errors compared.
        checkpoint: `last` or `selected`.
        declared: whether the sweep file asked for it before anything ran.
        missing: why there is nothing to compare; empty where there is.
        seeds: finished seeds of A and of B.
        paired: the primary, image-paired test.
        p_holm: its p-value after Holm over the declared comparisons; NaN for exploratory ones.
        permutation_p: exact permutation test on the seeds' error counts.
        probability_better: P(A makes fewer errors than B) over pairs of seeds.
        canaries: of A and of B.
        two_way: bootstrap interval over seeds and images, where a canary asks for it.
    """

    a: str
    b: str
    metric: str
    checkpoint: str
    declared: bool
    missing: str = ""
    seeds: tuple[int, int] = (0, 0)
    paired: Paired | None = None
    p_holm: float = float("nan")
    permutation_p: float = float("nan")
    probability_better: float = float("nan")
    canaries: tuple[Canary, Canary] | None = None
    two_way: tuple[float, float] | None = None


@dataclass(frozen=True)
class Analysis:
    """An ablation and everything computed from it."""

    ablation: Ablation
    arms: dict[str, ArmSummary]
    declared: list[Comparison]
    exploratory: list[Comparison]


def analyse(ablation: Ablation) -> Analysis:
    """Compute all summaries and comparisons of a sweep."""
    sweep = ablation.sweep
    arms = {name: _summarize_arm(runs, sweep.metric, sweep.checkpoint) for name, runs in ablation.arms.items()}
    declared = [compare(ablation, a, b, sweep.metric, sweep.checkpoint) for a, b in sweep.comparisons]
    adjusted = holm(np.array([pair.paired.p if pair.paired else 1.0 for pair in declared]))
    declared = [
        replace(pair, p_holm=float(p)) if pair.paired else pair for pair, p in zip(declared, adjusted, strict=True)
    ]
    return Analysis(ablation, arms, declared, _explore(ablation))


def compare(ablation: Ablation, a: str, b: str, metric: str, checkpoint: str, *, declared: bool = True) -> Comparison:
    """Compare two arms on the errors of `metric`; says why where it cannot."""
    outcome = Comparison(a, b, metric, checkpoint, declared)
    runs_a, runs_b = (comparable_runs(ablation.arms[name], metric, checkpoint) for name in (a, b))
    empty = [name for name, runs in ((a, runs_a), (b, runs_b)) if not runs]
    if empty:
        labels = " and ".join(ablation.arms[name].arm.label for name in empty)
        return replace(outcome, missing=f"no finished run with predictions of {labels}")
    if not same_images(runs_a[0], runs_b[0], metric):
        return replace(outcome, missing="the arms were tested on different images")
    errors_a, errors_b = error_matrix(runs_a, metric, checkpoint), error_matrix(runs_b, metric, checkpoint)
    counts_a, counts_b = _counts(runs_a, metric, checkpoint), _counts(runs_b, metric, checkpoint)
    canaries = canary(counts_a), canary(counts_b)
    unstable = any(found.verdict is SeedSpread.unstable for found in canaries)
    return replace(
        outcome,
        seeds=(len(runs_a), len(runs_b)),
        paired=paired_comparison(errors_a, errors_b),
        permutation_p=permutation_p(counts_a, counts_b),
        probability_better=probability_better(counts_a, counts_b),
        canaries=canaries,
        two_way=two_way_interval(errors_a, errors_b) if unstable else None,
    )


def comparable_runs(arm: ArmRuns, metric: str, checkpoint: str) -> list[RunRecord]:
    """The arm's finished runs with predictions on the same images as the first of them."""
    runs = [run for run in arm.done if run.predictions and run.predictions.errors(metric, checkpoint) is not None]
    return [run for run in runs if same_images(run, runs[0], metric)]


def error_matrix(runs: list[RunRecord], metric: str, checkpoint: str) -> Float[np.ndarray, "seeds images"]:
    """1 where a seed is wrong on an image; for affine errors the share of the image's variants that it gets wrong.

    Variants of one image share its difficulty, so that the image and not the variant is the unit of the paired test.
    """
    errors = _wrong(runs, metric, checkpoint).astype(np.float64)
    sources = runs[0].predictions.affine_image if metric == AFFINE and runs[0].predictions else None
    if sources is None:
        return errors
    _, image, variants = np.unique(sources, return_inverse=True, return_counts=True)
    return np.stack([np.bincount(image, row, minlength=variants.size) / variants for row in errors])


def _summarize_arm(runs: ArmRuns, metric: str, checkpoint: str) -> ArmSummary:
    key = errors_key(metric, checkpoint)
    counts = {run.seed: round(run.metrics[key]) for run in runs.done if key in run.metrics}
    images = next((size for run in runs.done if (size := image_count(run, metric))), 0)
    if not counts or not images:
        return ArmSummary(runs, counts, images, None, None, None)
    values = np.array(list(counts.values()))
    low, high = wilson(float(values.mean()), images)
    return ArmSummary(runs, counts, images, summarize(100 * values / images), (100 * low, 100 * high), canary(values))


def errors_key(metric: str, checkpoint: str) -> str:
    """Name in result.json of the error count of a metric at a checkpoint."""
    return "test_selected/errors" if (metric, checkpoint) == ("test/errors", "selected") else metric


def image_count(run: RunRecord, metric: str) -> int:
    """Images behind a run's error count; 0 where unknown."""
    labels = run.predictions.labels(metric) if run.predictions else None
    if labels is not None:
        return int(labels.size)
    return 0 if metric == AFFINE else run.test_images


def same_images(run: RunRecord, other: RunRecord, metric: str) -> bool:
    """Whether two runs were tested on the same images: equal classes in order, and equal transformations."""
    if run.predictions is None or other.predictions is None:
        return False
    labels, others = run.predictions.labels(metric), other.predictions.labels(metric)
    if labels is None or others is None or not np.array_equal(labels, others):
        return False
    return metric != AFFINE or _transformations(run) == _transformations(other)


def _transformations(run: RunRecord) -> tuple[Any, ...]:
    drawn = run.config.get("evaluation", {}).get("affine", {})
    return tuple(drawn.get(name) for name in ("seed", "variants", "images"))


def _wrong(runs: list[RunRecord], metric: str, checkpoint: str) -> Bool[np.ndarray, "seeds images"]:
    rows = [run.predictions.errors(metric, checkpoint) for run in runs if run.predictions]
    return np.array([row for row in rows if row is not None], dtype=np.bool_)


def _counts(runs: list[RunRecord], metric: str, checkpoint: str) -> Int[np.ndarray, "seeds"]:
    return np.asarray(np.count_nonzero(_wrong(runs, metric, checkpoint), axis=1), dtype=np.int64)


def _explore(ablation: Ablation) -> list[Comparison]:
    sweep = ablation.sweep
    known = {frozenset(pair) for pair in sweep.comparisons}
    names = [name for name, runs in ablation.arms.items() if runs.done]
    others = [] if len(names) > EXPLORED_ARMS else [p for p in combinations(names, 2) if frozenset(p) not in known]
    found = [compare(ablation, a, b, sweep.metric, sweep.checkpoint, declared=False) for a, b in others]
    if sweep.metric != AFFINE:
        found += [compare(ablation, a, b, AFFINE, "last", declared=False) for a, b in sweep.comparisons]
    return [pair for pair in found if pair.paired]
