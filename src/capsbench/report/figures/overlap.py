"""Overlapping digits: both found, each found, and how well each is rebuilt alone."""

from capsbench.report.analysis import Analysis
from capsbench.report.figures.curves import marker_keys
from capsbench.report.figures.dots import DOTS, arm_values, dots_text, draw_dots, height
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure

FOUND = {"overlap/exact_match": "both digits found", "overlap/recall": "digits found"}
REBUILT = {"overlap/reconstruction_error": "rebuilt alone"}


def overlap_plate(analysis: Analysis) -> Plate | None:
    """Exact match and recall by arm; None where no run was asked."""
    styles, found = arm_looks(analysis), arm_values(analysis, list(FOUND), 100)
    if not found:
        return None
    rebuilt = arm_values(analysis, list(REBUILT))
    figure = new_figure(9, 0.9 + height(len(FOUND), len(found)) + 0.4)
    panels = figure.subplots(1, 2 if rebuilt else 1, squeeze=False, width_ratios=[3, 2] if rebuilt else None)[0]
    draw_dots(panels[0], found, FOUND, styles)
    dress(panels[0], x="share of pairs, or of digits, %", grid="x")
    if rebuilt:
        draw_dots(panels[1], rebuilt, REBUILT, styles)
        dress(panels[1], x="squared error per pixel", grid="x")
        panels[1].set_xlim(0, 1.15 * max(float(one.max()) for arm in rebuilt.values() for one in arm.values()))
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    legend(figure, *marker_keys(styles, set(found) | set(rebuilt)))
    return Plate(
        "overlap",
        "Two digits, one over the other",
        "The two largest scores are the answer. Both digits found: they are the two classes (Sabour et al. 2017); "
        f"digits found: share of the classes that are among them (Mazzia et al. 2021), which is higher. {DOTS}",
        f"Share in %. {dots_text(found, FOUND, styles)}",
        figure,
    )
