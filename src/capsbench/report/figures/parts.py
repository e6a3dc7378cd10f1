"""Rearranged parts: how often the class of the unspoilt image is still claimed."""

import re

from capsbench.report.analysis import Analysis
from capsbench.report.figures.curves import marker_keys
from capsbench.report.figures.dots import DOTS, arm_values, dots_text, draw_dots, height, measured
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure

NAMES = {"clean": "unspoilt", "swapped_sides": "left and right swapped", "swapped_ends": "top and bottom swapped"}
PANELS = (
    ("claimed", "original class claimed, %"),
    ("accepted", "any class claimed, %"),
    ("confidence", "mean confidence, %"),
)


def parts_plate(analysis: Analysis) -> Plate | None:
    """Shares claimed and confidence by condition and arm; None where no run was asked."""
    conditions = measured(analysis, "parts/", "_claimed")
    if not conditions:
        return None
    conditions.sort(key=lambda name: (name != "clean", _kind(name)))
    styles = arm_looks(analysis)
    names = {f"parts/{name}_claimed": condition_name(name) for name in conditions}
    claimed = arm_values(analysis, list(names), 100)
    figure = new_figure(10, 0.9 + height(len(conditions), len(claimed)))
    for axes, (what, label) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        rows = {f"parts/{name}_{what}": condition_name(name) for name in conditions}
        draw_dots(axes, arm_values(analysis, list(rows), 100), rows, styles)
        dress(axes, x=label, grid="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(-3, 103)
    legend(figure, *marker_keys(styles, set(claimed)))
    return Plate(
        "parts",
        "Is the class still claimed when the parts are in the wrong places?",
        "Claimed: predicted with more confidence than the threshold that nearly all unspoilt validation images pass. A "
        "model that recognises wholes should claim little of what is rearranged. In mixtures of two images either "
        f"class counts as the original one. {DOTS}",
        f"Original class claimed, %. {dots_text(claimed, names, styles)}",
        figure,
    )


def condition_name(name: str) -> str:
    """A condition of `evaluation.parts` in words."""
    if match := re.fullmatch(r"(grid|mixed)(\d+)", name):
        kind, cells = match.groups()
        return f"{cells} × {cells} parts " + ("rearranged" if kind == "grid" else "of two images mixed")
    return NAMES.get(name, name.replace("_", " "))


def _kind(name: str) -> tuple[int, str]:
    return next((place for place, start in enumerate(("grid", "swapped", "mixed")) if name.startswith(start)), 3), name
