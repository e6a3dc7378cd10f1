"""Whether a committed file of results says what its own predictions say: counts, verdicts and MNIST's labels."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.report.analysis import Analysis, analyse
from capsbench.report.collect import AFFINE, Ablation, RunRecord
from capsbench.report.results_file import read_results_file, read_values, results_values, to_text
from capsbench.report.test_images import read_test_images

COUNTS = (("test/errors", "test/errors", "last"), ("test_selected/errors", "test/errors", "selected"))


def read_checked(path: Path) -> tuple[Analysis, list[str]]:
    """The statistics of a file of results, computed again, and what in the file does not agree with them."""
    analysis = analyse(read_results_file(path))
    problems = [f"{path.name}: {text}" for text in [*_counts(analysis.ablation), *_labels(analysis.ablation)]]
    return analysis, [*problems, *(f"{path.name}: {text}" for text in _verdicts(analysis, read_values(path)))]


def _counts(ablation: Ablation) -> Iterator[str]:
    for run in ablation.done:
        for name, metric, checkpoint in (*COUNTS, (AFFINE, AFFINE, "last")):
            wrong = run.predictions.errors(metric, checkpoint) if run.predictions else None
            if wrong is not None and np.count_nonzero(wrong) != run.metrics.get(name):
                stated, found = run.metrics.get(name, math.nan), np.count_nonzero(wrong)
                yield f"{run.arm} seed {run.seed}: {name} is {stated:g}, its predictions have {found}"
        if run.predictions is None:
            yield f"{run.arm} seed {run.seed}: no predictions"


def _labels(ablation: Ablation) -> Iterator[str]:
    checked: dict[bytes, bool] = {}
    for run in ablation.done:
        if run.predictions is None or _data(run).get("name") != "mnist":
            continue
        label = run.predictions.label
        key = label.tobytes()
        if key not in checked:
            checked[key] = read_test_images({"name": "mnist"}, label) is not None
        if not checked[key]:
            yield f"{run.arm} seed {run.seed}: the labels are not those of MNIST's test images"
        source, affine = run.predictions.affine_image, run.predictions.affine_label
        if source is not None and affine is not None and not np.array_equal(label[source], affine):
            yield f"{run.arm} seed {run.seed}: labels of the transformed images are not those of their originals"


def _verdicts(analysis: Analysis, stored: dict[str, Any]) -> Iterator[str]:
    again = results_values(analysis, stored["overrides"])
    for part in ("arms", "comparisons"):
        if to_text({part: again[part]}) != to_text({part: stored[part]}):
            yield f"its {part} are not what its runs and predictions give"


def _data(run: RunRecord) -> dict[str, Any]:
    return dict(run.config.get("data") or {})
