"""Routing health in numbers: does routing change an answer, and do capsules take part?"""

import numpy as np

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import BANDS, Curve, arms_text, curve_keys, draw_curve, marker_keys, stack_curves
from capsbench.report.figures.dots import DOTS, arm_values, dots_text, draw_dots, height
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure

# Share in % below which the logarithmic axis ends.
SMALLEST = 1e-4
ROWS = {
    "routing/changed_predictions": "predictions changed by routing",
    "routing/dead_primary": "dead primary capsules",
    "routing/static_primary": "static primary capsules",
    "routing/dead_class": "dead class capsules",
}


def health_plate(analysis: Analysis) -> Plate | None:
    """Shares of changed predictions and of capsules that do nothing; None without routing."""
    styles, values = arm_looks(analysis), arm_values(analysis, list(ROWS), 100)
    rows = {name: label for name, label in ROWS.items() if any(name in found for found in values.values())}
    if not rows:
        return None
    figure = new_figure(8.5, 0.9 + height(len(rows), len(values)))
    axes = figure.subplots()
    draw_dots(axes, values, rows, styles)
    dress(axes, x="share, %", grid="x")
    axes.tick_params(axis="y", length=0)
    # Zeros stand free of the axis, and noise below one per cent does not fill the picture.
    right = max(axes.get_xlim()[1], 1.0)
    axes.set_xlim(-0.02 * right, right)
    legend(figure, *marker_keys(styles, set(values)))
    return Plate(
        "health",
        "Does routing decide anything, and do capsules take part?",
        "Predictions changed: test images that the same weights classify differently with uniform coupling (Paik et "
        "al. 2019); algorithms without a uniform counterpart have none. Dead capsules are never active, static ones "
        f"are equally long for every image. {DOTS}",
        f"Share in %. {dots_text(values, rows, styles, decimals=2)}",
        figure,
    )


def links_plate(analysis: Analysis) -> Plate | None:
    """Distribution of the coupling coefficients after the last iteration; None without routing."""
    curves = {name: curve for name, arm in analysis.ablation.arms.items() if (curve := _histogram(arm)) is not None}
    if not curves:
        return None
    styles = arm_looks(analysis)
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    for name, (middles, shares) in curves.items():
        seen = shares.mean(axis=0) > 0
        percent = np.where(seen, np.maximum(100 * shares, SMALLEST), np.nan)
        draw_curve(axes, middles, percent, styles[name], limits=(SMALLEST, 100))
    axes.set_yscale("log")
    dress(axes, x="coupling coefficient after the last iteration", y="share of coefficients, %")
    legend(figure, *curve_keys(styles, set(curves)))
    return Plate(
        "links",
        "Strength of the links between capsules",
        "How the coupling coefficients are distributed, logarithmic: a peak at 1 over the number of classes and "
        f"nothing else means that routing leaves coupling uniform; peaks at 0 and 1 that it decides. Values that no "
        f"coefficient takes have no marker. {BANDS}",
        f"Distribution of coupling coefficients of {arms_text(len(curves))}.",
        figure,
    )


def _histogram(arm: ArmRuns) -> Curve | None:
    kept = [(run.figures.get("routing") or {}).get("coupling_histogram") for run in arm.done]
    found = []
    for one in kept:
        if one:
            edges = np.array(one["edges"])
            found.append((((edges[1:] + edges[:-1]) / 2).tolist(), one["share_by_iteration"][-1]))
    return stack_curves(found)
