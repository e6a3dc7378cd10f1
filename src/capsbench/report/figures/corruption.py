"""Errors under corruptions, by kind and by severity, and accuracy far from upright and from the middle."""

import numpy as np
from matplotlib.axes import Axes

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import BANDS, Curve, curve_keys, draw_curve, stack_curves
from capsbench.report.figures.dots import arm_values, dots_text, draw_dots, height, measured
from capsbench.report.figures.style import Look, Plate, arm_looks, dress, legend, new_figure

FIRST, LAST = "clean", "mean"
FACTORS = {"rotation": "rotation (degrees, either way)", "translation": "translation (pixels)"}


def corruption_plate(analysis: Analysis) -> Plate | None:
    """Dots by corruption beside curves by severity and factor; None where no run was asked."""
    kinds = measured(analysis, "corruption/", "_error")
    if not kinds:
        return None
    kinds.sort(key=lambda name: (name == LAST, name != FIRST, name))
    names = {FIRST: "not corrupted", LAST: "mean of all"}
    rows = {f"corruption/{name}_error": names.get(name, name.replace("_", " ")) for name in kinds}
    styles, values = arm_looks(analysis), arm_values(analysis, list(rows), 100)
    figure = new_figure(9.5, max(5.5, 0.9 + height(len(rows), len(values))))
    grid = figure.add_gridspec(3, 2, width_ratios=[3, 2])
    left = figure.add_subplot(grid[:, 0])
    draw_dots(left, values, rows, styles)
    dress(left, x="error %, mean over severities", grid="x")
    left.tick_params(axis="y", length=0)
    left.set_xlim(left=-2)
    _curves(figure.add_subplot(grid[0, 1]), analysis, _severities, styles)
    dress(figure.axes[-1], x="severity", y="mean error %")
    for place, (factor, label) in enumerate(FACTORS.items()):
        axes = figure.add_subplot(grid[place + 1, 1])
        _curves(axes, analysis, lambda arm, factor=factor: _factor(arm, factor), styles)
        dress(axes, x=label, y="accuracy %")
        axes.set_ylim(-3, 103)
    legend(figure, *curve_keys(styles, set(values)))
    return Plate(
        "corruption",
        "Corrupted images",
        "Fifteen corruptions as MNIST-C has them, made anew from its description (not its own images): compare arms, "
        f"not published numbers. Left: a marker is the mean over seeds, its line their range. Right: {BANDS}",
        f"Mean error, %. {dots_text(values, rows, styles)}",
        figure,
    )


def _curves(axes: Axes, analysis: Analysis, read: object, styles: dict[str, Look]) -> None:
    assert callable(read)
    for name, arm in analysis.ablation.arms.items():
        curve: Curve | None = read(arm)
        if curve is not None:
            draw_curve(axes, curve[0], 100 * curve[1], styles[name], limits=(0, 100))


def _severities(arm: ArmRuns) -> Curve | None:
    kept = [run.figures.get("corruption") or {} for run in arm.done]
    return stack_curves(
        [(one["severities"], np.mean(list(one["errors"].values()), axis=0)) for one in kept if one.get("errors")]
    )


def _factor(arm: ArmRuns, factor: str) -> Curve | None:
    curves = [(run.figures.get("corruption") or {}).get("curves", {}).get(factor) for run in arm.done]
    return stack_curves([(curve["levels"], curve["accuracy"]) for curve in curves if curve])
