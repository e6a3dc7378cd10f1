"""Forest plot: every arm's error with its intervals, its seeds and what was published."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capsbench.report.analysis import Analysis, ArmSummary
from capsbench.report.collect import AFFINE
from capsbench.report.figures.style import FAINT, INK, Look, Plate, arm_looks, dress, legend, new_figure, plain_text
from capsbench.report.tables.arms import CHECKPOINT_NAMES
from capsbench.sweep_file import Published


def forest_plate(analysis: Analysis) -> Plate | None:
    """Error % per arm, best reading order as declared; None without a finished run."""
    if not any(arm.error for arm in analysis.arms.values()):
        return None
    sweep = analysis.ablation.sweep
    styles = arm_looks(analysis)
    figure = new_figure(8.5, 1.1 + 0.62 * len(analysis.arms))
    axes = figure.subplots()
    limit = _right_edge(analysis)
    for row, (name, arm) in enumerate(analysis.arms.items()):
        _draw_arm(axes, row, arm, styles[name], limit)
    what = "affine error" if sweep.metric == AFFINE else "test error"
    dress(axes, x=f"{what} % ({CHECKPOINT_NAMES[sweep.checkpoint]}) – lower is better", grid="x")
    axes.set_yticks(range(len(analysis.arms)))
    axes.set_yticklabels([plain_text(arm.runs.arm.label, width=28) for arm in analysis.arms.values()], fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(analysis.arms) - 0.45, -0.6)
    axes.set_xlim(0, limit)
    _legend(figure, analysis)
    return Plate(
        "errors",
        f"{what.capitalize()} of every arm",
        "Large marker: mean over seeds. Coloured bar: 95 % t-interval of the mean over seeds (training varies, these "
        "test images stay); an arrow means that it goes on. Grey bar: Wilson 95 % interval of one run (the test images "
        "vary). Small dots: single seeds. Open diamond: published number, with its published sd where there is one.",
        _alt(analysis),
        figure,
    )


def _draw_arm(axes: Axes, row: int, arm: ArmSummary, look: Look, limit: float) -> None:
    published = _published_error(arm.runs.arm.published)
    if published:
        sd = published.sd or 0
        axes.plot(
            [published.value - sd, published.value + sd],
            [row - 0.27] * 2,
            color=INK,
            linewidth=1.2,
            zorder=3,
            clip_on=False,
        )
        axes.plot(
            published.value, row - 0.27, "D", color="white", markeredgecolor=INK, markersize=6, zorder=4, clip_on=False
        )
    if arm.error is None or arm.wilson is None:
        axes.text(limit * 0.01, row, "no finished run", fontsize=9, color="#666666", va="center")
        return
    axes.plot(arm.wilson, [row, row], color=FAINT, linewidth=9, solid_capstyle="butt", zorder=1)
    if not math.isnan(arm.error.low):
        low, high = max(arm.error.low, 0), min(arm.error.high, limit)
        axes.plot([low, high], [row, row], color=look.colour, linewidth=2.5, zorder=2)
        axes.plot([low, high], [row, row], "|", color=look.colour, markersize=11, markeredgewidth=2, zorder=2)
        if arm.error.high > limit:
            axes.plot(limit * 0.995, row, ">", color=look.colour, markersize=7, clip_on=False, zorder=2)
    axes.plot(arm.error.mean, row, look.marker, color=look.colour, markeredgecolor="white", markersize=7.5, zorder=5)
    seeds = 100 * np.array(list(arm.counts.values())) / arm.images
    axes.plot(seeds, np.full(seeds.size, row + 0.24), ".", color=look.colour, alpha=0.65, markersize=7, zorder=3)


def _right_edge(analysis: Analysis) -> float:
    """Room for all seeds, Wilson bars and published values; t-intervals of few seeds may run out of the picture."""
    ends = []
    for arm in analysis.arms.values():
        published = _published_error(arm.runs.arm.published)
        ends += [published.value + (published.sd or 0)] if published else []
        if arm.error and arm.wilson:
            ends += [arm.error.highest, arm.wilson[1]]
            if not math.isnan(arm.error.high):
                ends.append(min(arm.error.high, 2 * arm.error.highest))
    return min(max([*ends, 0.01]) * 1.06, 101)


def _published_error(published: Published | None) -> Published | None:
    return published if published and published.unit == "error %" else None


def _legend(figure: Figure, analysis: Analysis) -> None:
    handles = [
        Line2D(
            [], [], marker="o", linestyle="-", linewidth=2.5, color="#555555", markeredgecolor="white", markersize=7
        ),
        Line2D([], [], color=FAINT, linewidth=9, solid_capstyle="butt"),
        Line2D([], [], marker=".", linestyle="", color="#555555", markersize=7),
    ]
    labels = ["mean, 95 % t-interval over seeds", "Wilson 95 %, one run", "one seed"]
    if any(_published_error(arm.runs.arm.published) for arm in analysis.arms.values()):
        handles.append(Line2D([], [], marker="D", linestyle="", color="white", markeredgecolor=INK, markersize=6))
        labels.append("published")
    legend(figure, handles, labels)


def _alt(analysis: Analysis) -> str:
    values = [
        f"{arm.runs.arm.label}: {arm.error.mean:.2f} %" if arm.error else f"{arm.runs.arm.label}: no finished run"
        for arm in analysis.arms.values()
    ]
    return "Forest plot of mean errors. " + "; ".join(values) + "."
