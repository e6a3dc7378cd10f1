"""Numbers by name and arm as dots: a row per number, a coloured marker per arm, a line over the arm's seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.style import Look, plain_text

DOTS = "Marker: mean over seeds. Line: range of the seeds."
SPREAD = 0.62

Values = Mapping[str, Mapping[str, Float[np.ndarray, "seeds"]]]


def arm_values(analysis: Analysis, metrics: Sequence[str], factor: float = 1.0) -> Values:
    """Arm -> metric -> values over the finished seeds, of what any run has."""
    found = {name: _values(arm, metrics, factor) for name, arm in analysis.ablation.arms.items()}
    return {name: values for name, values in found.items() if values}


def measured(analysis: Analysis, prefix: str, suffix: str) -> list[str]:
    """What stands between prefix and suffix in the names of the finished runs' metrics, in the order found."""
    names = dict.fromkeys(name for run in analysis.ablation.done for name in run.metrics)
    return [
        name.removeprefix(prefix).removesuffix(suffix)
        for name in names
        if name.startswith(prefix) and name.endswith(suffix)
    ]


def draw_dots(axes: Axes, values: Values, rows: Mapping[str, str], styles: Mapping[str, Look]) -> None:
    """Draw every arm's values.

    Args:
        axes: rows go down, numbers to the right.
        values: arm -> metric -> values.
        rows: metric -> what its row is called.
        styles: how each arm is drawn.
    """
    step = SPREAD / max(len(values), 1)
    for place, (name, found) in enumerate(values.items()):
        look, offset = styles[name], (place - (len(values) - 1) / 2) * step
        for row, metric in enumerate(rows):
            numbers = found.get(metric)
            if numbers is None:
                continue
            ends = [numbers.min(), numbers.max()]
            axes.plot(ends, [row + offset] * 2, color=look.colour, linewidth=1.8, alpha=0.55)
            axes.plot(
                numbers.mean(), row + offset, look.marker, color=look.colour, markeredgecolor="white", markersize=7
            )
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color="#ececec", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([plain_text(label, 30) for label in rows.values()], fontsize=10)
    axes.set_ylim(len(rows) - 0.5, -0.5)


def dots_text(values: Values, rows: Mapping[str, str], styles: Mapping[str, Look], *, decimals: int = 1) -> str:
    """The means in words, arm by arm, for those who do not see the dots: numbers that stand in no table."""
    listed = []
    for name, found in values.items():
        means = [f"{rows[metric]} {found[metric].mean():.{decimals}f}" for metric in rows if metric in found]
        if means:
            listed.append(f"{styles[name].label}: {', '.join(means)}")
    return "; ".join(listed).replace("\n", " ") + "."


def height(rows: int, arms: int) -> float:
    """Inches that so many rows of so many arms need."""
    return rows * max(0.3, 0.13 * arms + 0.1)


def _values(arm: ArmRuns, metrics: Sequence[str], factor: float) -> dict[str, Float[np.ndarray, "seeds"]]:
    found = {metric: factor * arm.values(metric) for metric in metrics}
    return {metric: values for metric, values in found.items() if values.size}
