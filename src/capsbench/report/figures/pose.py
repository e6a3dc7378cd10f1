"""Pose probes: how much of an image's transformation a linear map reads out of the class capsule."""

from capsbench.report.analysis import Analysis
from capsbench.report.figures.curves import marker_keys
from capsbench.report.figures.dots import DOTS, arm_values, dots_text, draw_dots, height, measured
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure


def pose_plate(analysis: Analysis) -> Plate | None:
    """R2 by factor and arm; None where no run was probed."""
    factors = measured(analysis, "pose/", "_r2")
    if not factors:
        return None
    factors.sort(key=lambda name: name == "mean")
    rows = {f"pose/{name}_r2": "mean of all" if name == "mean" else name.replace("_", " ") for name in factors}
    styles, values = arm_looks(analysis), arm_values(analysis, list(rows))
    figure = new_figure(8.5, 0.9 + height(len(rows), len(values)))
    axes = figure.subplots()
    draw_dots(axes, values, rows, styles)
    axes.axvline(0, color="#888888", linestyle=(0, (4, 3)), linewidth=1)
    dress(axes, x="cross-validated R² of a linear probe", grid="x")
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(min(axes.get_xlim()[0], -0.05), 1.02)
    legend(figure, *marker_keys(styles, set(values)))
    return Plate(
        "pose",
        "What a linear probe reads out of the pose",
        "A ridge regression from the true class's pose (of a CNN: from features cut to the same size) to how the image "
        "was transformed, a probe per class, on images that it was not fitted on. 1: read exactly; 0 or less: not at "
        f"all. An image's own slant and size are unknown to the probe, so nobody reaches 1. {DOTS}",
        f"Mean R2. {dots_text(values, rows, styles, decimals=2)}",
        figure,
    )
