"""Matched accuracy: how well arms do out of distribution where they are equally good in distribution."""

import numpy as np
from jaxtyping import Float

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import marker_keys
from capsbench.report.figures.dots import DOTS, arm_values, dots_text, draw_dots, height
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure

PAIRS = {
    "matched/affine_accuracy": "affNIST-like, where matched",
    "affine/accuracy": "affNIST-like, at the end",
    "matched/novel_accuracy": "novel viewpoints, where matched",
    "viewpoint/novel_accuracy": "novel viewpoints, at the end",
    "matched/familiar_accuracy": "familiar viewpoints, where matched",
    "matched/accuracy": "test images, where matched",
    "test/accuracy": "test images, at the end",
}
ASKED = ("matched/affine_accuracy", "matched/novel_accuracy")


def matched_plate(analysis: Analysis) -> Plate | None:
    """In- against out-of-distribution accuracy, while training and where matched; None where no run followed it."""
    styles = arm_looks(analysis)
    paths = {name: path for name, arm in analysis.ablation.arms.items() if (path := history(arm)) is not None}
    values = arm_values(analysis, list(PAIRS), 100) if arm_values(analysis, ASKED) else {}
    if not paths and not values:
        return None
    rows = {name: label for name, label in PAIRS.items() if any(name in found for found in values.values())}
    figure = new_figure(10, max(3.9, 0.9 + height(len(rows), len(values))))
    panels = figure.subplots(1, 2 if rows and paths else 1, squeeze=False)[0]
    if paths:
        for name, found in paths.items():
            look = styles[name]
            for run in found:
                panels[0].plot(run[:, 0], run[:, 1], look.line, color=look.colour, linewidth=1, alpha=0.6)
                panels[0].plot(run[-1:, 0], run[-1:, 1], look.marker, color=look.colour, markeredgecolor="white")
        level = threshold(analysis)
        if level is not None:
            panels[0].axvline(100 * level, color="#888888", linestyle=(0, (4, 3)), linewidth=1)
        dress(panels[0], x="validation accuracy, %", y="accuracy out of distribution, %")
    if rows:
        draw_dots(panels[-1], values, rows, styles)
        dress(panels[-1], x="accuracy %", grid="x")
        panels[-1].tick_params(axis="y", length=0)
    legend(figure, *marker_keys(styles, set(paths) | set(values)))
    reached = {name: (arm.values("matched/epoch").size, len(arm.done)) for name, arm in analysis.ablation.arms.items()}
    never = [
        f"{styles[name].label}: {done - count} of {done} runs never got there"
        for name, (count, done) in reached.items()
        if name in paths and count < done
    ]
    return Plate(
        "matched",
        "Out of distribution at equal accuracy in distribution",
        "Left: every run from its first to its last epoch (marker), on validation images and on transformed validation "
        "images, which select nothing; dashed is the accuracy at which arms are compared. Right: test images at the "
        f"first epoch that reached it, and at the end. {DOTS}" + (f" {'; '.join(never)}." if never else ""),
        f"In- and out-of-distribution accuracy, %. {dots_text(values, rows, styles)}",
        figure,
    )


def history(arm: ArmRuns) -> list[Float[np.ndarray, "epochs 2"]] | None:
    """Validation accuracy and accuracy out of distribution in % by epoch, of each run that followed them."""
    kept = [(run.figures.get("matched") or {}).get("history") or [] for run in arm.done]
    found = []
    for rows in kept:
        name = next((key for row in rows for key in row if key not in ("epoch", "accuracy")), None)
        if name is not None:
            found.append(
                100 * np.array([[row["accuracy"], row[name]] for row in rows if name in row], dtype=np.float64)
            )
    return found or None


def threshold(analysis: Analysis) -> float | None:
    """The validation accuracy at which the runs were compared."""
    asked = [(run.figures.get("matched") or {}).get("reached") or {} for run in analysis.ablation.done]
    return next((float(one["threshold"]) for one in asked if "threshold" in one), None)
