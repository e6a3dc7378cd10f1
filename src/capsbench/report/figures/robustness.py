"""Robustness curves: accuracy against one affine factor at a time."""

import math

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import BANDS, Curve, arms_text, curve_keys, draw_curve, stack_curves
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure

UNITS = {"rotation": "degrees", "scale": "factor", "shear": "factor", "translation": "pixels"}


def robustness_plate(analysis: Analysis) -> Plate | None:
    """Accuracy against each affine factor alone; None where no run has such curves."""
    arms = analysis.ablation.arms
    factors = list(dict.fromkeys(name for arm in arms.values() for name in _factors(arm)))
    if not factors:
        return None
    columns = min(2, len(factors))
    rows = math.ceil(len(factors) / columns)
    figure = new_figure(9, 0.4 + 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    styles = arm_looks(analysis)
    shown: set[str] = set()
    for place, factor in enumerate(factors):
        axes = grid.flat[place]
        for name, arm in arms.items():
            curve = _robustness(arm, factor)
            if curve is not None:
                draw_curve(axes, curve[0], 100 * curve[1], styles[name], limits=(0, 100))
                shown.add(name)
        dress(axes, x=f"{factor} ({UNITS[factor]})" if factor in UNITS else factor, title=factor)
        axes.set_ylabel("accuracy %" if place % columns == 0 else "", fontsize=10)
    for axes in grid.flat[len(factors) :]:
        axes.set_visible(False)
    legend(figure, *curve_keys(styles, shown))
    return Plate(
        "robustness",
        "Accuracy under rotation, scale, shear and translation",
        f"One factor at a time, applied to test images that no arm was trained on. {BANDS}",
        f"Accuracy of {arms_text(len(shown))} against {', '.join(factors)}; their areas are in the table.",
        figure,
    )


def _factors(arm: ArmRuns) -> list[str]:
    return [name for run in arm.done for name in run.figures.get("affine", {})]


def _robustness(arm: ArmRuns, factor: str) -> Curve | None:
    found = [run.figures["affine"][factor] for run in arm.done if factor in run.figures.get("affine", {})]
    return stack_curves([(curve["levels"], curve["accuracy"]) for curve in found])
