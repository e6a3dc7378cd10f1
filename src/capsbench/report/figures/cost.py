"""What accuracy costs: training time of every arm, and error against time, MACs and parameters."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from capsbench.report.analysis import Analysis, ArmSummary
from capsbench.report.figures.curves import arms_text
from capsbench.report.figures.style import Look, Plate, arm_looks, dress, legend, new_figure, plain_text
from capsbench.report.statistics.intervals import spread
from capsbench.report.tables.arms import target_accuracy

COSTS = (
    ("time/train_seconds", "training time (s)", 1.0),
    ("cost/macs", "MACs per image (millions)", 1e-6),
    ("cost/parameters", "parameters (millions)", 1e-6),
)


def time_plate(analysis: Analysis) -> Plate | None:
    """Seconds per epoch and seconds to the target accuracy; None where nothing was timed."""
    arms = {name: arm for name, arm in analysis.arms.items() if arm.runs.values("time/seconds_per_epoch").size}
    if not arms:
        return None
    styles = arm_looks(analysis)
    reached = any(arm.runs.values("time/seconds_to_target").size for arm in arms.values())
    figure = new_figure(9, 1.1 + 0.42 * len(arms))
    target = 100 * target_accuracy(analysis.ablation.done)
    panels = [("time/seconds_per_epoch", "seconds per epoch")]
    panels += [("time/seconds_to_target", f"seconds to {target:g} % validation accuracy")] if reached else []
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (metric, name) in zip(grid.flat, panels, strict=True):
        for row, (arm_name, arm) in enumerate(arms.items()):
            _draw_times(axes, row, arm.runs.values(metric), styles[arm_name])
        dress(axes, x=name, grid="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(left=0)
    grid[0, 0].set_yticks(range(len(arms)))
    grid[0, 0].set_yticklabels([plain_text(arm.runs.arm.label, width=28) for arm in arms.values()], fontsize=10)
    grid[0, 0].set_ylim(len(arms) - 0.5, -0.5)
    note = "" if reached else f" No run reached {target:g} % validation accuracy."
    return Plate(
        "time",
        "Training time",
        f"Bars are medians over seeds, black lines the quartiles, dots single runs.{note}",
        "Median seconds per epoch. "
        + "; ".join(
            f"{arm.runs.arm.label}: {spread(arm.runs.values('time/seconds_per_epoch')).median:.1f}"
            for arm in arms.values()
        )
        + ".",
        figure,
    )


def pareto_plate(analysis: Analysis) -> Plate | None:
    """Error against each cost; None where fewer than two arms have both."""
    arms = {name: arm for name, arm in analysis.arms.items() if arm.error}
    costs = [cost for cost in COSTS if sum(bool(arm.runs.values(cost[0]).any()) for arm in arms.values()) >= 2]
    if not costs:
        return None
    styles = arm_looks(analysis)
    figure = new_figure(3.3 * len(costs) + 0.4, 3.6)
    for place, (axes, (metric, name, factor)) in enumerate(
        zip(figure.subplots(1, len(costs), sharey=True, squeeze=False).flat, costs, strict=True)
    ):
        _draw_front(axes, arms, metric, factor, styles)
        dress(axes, x=name, y="error %" if place == 0 else "")
        axes.set_xscale("log")
        _few_log_ticks(axes)
    used = [styles[name] for name in arms]
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markeredgecolor="white", markersize=9)
        for look in used
    ]
    front = Line2D([], [], color="#777777", linestyle="--", linewidth=1.2)
    legend(figure, [*handles, front], [*(look.label for look in used), "Pareto front"])
    return Plate(
        "pareto",
        "Error against cost",
        "Marker: mean error over seeds at the median cost. Bar: range of the seeds. Arms of "
        "equal cost stand side by side. No arm lies below and left of the dashed front.",
        f"Error of {arms_text(len(arms))} against {', '.join(cost[1] for cost in costs)}; see the tables.",
        figure,
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other point beats in one coordinate without losing in the other, by rising first coordinate."""
    front: list[tuple[float, float]] = []
    for cost, error in sorted(points):
        if not front or error < front[-1][1]:
            front.append((cost, error))
    return front


def _draw_times(axes: Axes, row: int, values: Float[np.ndarray, "seeds"], look: Look) -> None:
    if not values.size:
        axes.text(
            0.01, row, "not reached", transform=axes.get_yaxis_transform(), fontsize=9, color="#666666", va="center"
        )
        return
    found = spread(values)
    axes.barh(row, found.median, height=0.6, color=look.colour, alpha=0.55)
    axes.plot([found.lower_quartile, found.upper_quartile], [row, row], color="#1b1b1b", linewidth=2)
    axes.plot(values, np.full(values.size, row), ".", color="#1b1b1b", markersize=5)


def _draw_front(axes: Axes, arms: dict[str, ArmSummary], metric: str, factor: float, styles: dict[str, Look]) -> None:
    costs = {
        name: factor * float(np.median(arm.runs.values(metric)))
        for name, arm in arms.items()
        if arm.runs.values(metric).any()
    }
    places = side_by_side(costs)
    for name, place in places.items():
        error, look = arms[name].error, styles[name]
        if error is not None:
            axes.plot([place, place], [error.lowest, error.highest], color=look.colour, linewidth=1.6, alpha=0.6)
            axes.plot(
                place, error.mean, look.marker, color=look.colour, markeredgecolor="white", markersize=10, zorder=3
            )
    front = pareto_front([(costs[name], error.mean) for name in places if (error := arms[name].error)])
    axes.step(*zip(*front, strict=True), where="post", color="#777777", linestyle="--", linewidth=1.2, zorder=1)
    axes.set_ylim(bottom=0)


def side_by_side(costs: dict[str, float], near: float = 1.04) -> dict[str, float]:
    """Where markers stand on a logarithmic axis: costs less than `near` apart get a marker's width between them."""
    if not costs:
        return {}
    width = max(1.3 * max(costs.values()) / min(costs.values()), 2.0) ** 0.06
    groups: list[list[str]] = []
    for name in sorted(costs, key=lambda one: costs[one]):
        if groups and costs[name] < near * costs[groups[-1][0]]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return {
        name: costs[name] * width ** (place - (len(group) - 1) / 2)
        for group in groups
        for place, name in enumerate(group)
    }


def _few_log_ticks(axes: Axes) -> None:
    low, high = axes.get_xlim()
    low, high = low / 1.15, high * 1.15
    axes.set_xlim(low, high)
    steps = (1, 2, 5) if high / low < 50 else (1,)
    axes.xaxis.set_major_locator(MaxNLocator(4) if high / low < 5 else LogLocator(base=10, subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
