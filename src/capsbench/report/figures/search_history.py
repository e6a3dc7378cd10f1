"""How a search went: the value of every trial in the order they were drawn, and the best so far."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from capsbench.report.figures.style import COLOURS, INK, Plate, dress, legend, new_figure, plain_text
from capsbench.report.search import FAILED, PRUNED, SearchRecord, Trial

DONE, OUT, LOST, ASKED = COLOURS[0], COLOURS[4], COLOURS[1], COLOURS[2]
# Values further than this many quartile ranges from the middle half would flatten all others.
FAR = 8


def history_plate(search: SearchRecord) -> Plate | None:
    """Value against trial number, a panel for each objective; None before anything has a value."""
    if not search.complete:
        return None
    figure = new_figure(9, 0.8 + 2.7 * len(search.objectives))
    grid = figure.subplots(len(search.objectives), 1, squeeze=False, sharex=True)[:, 0]
    for place, (axes, (objective, direction)) in enumerate(zip(grid, search.objectives.items(), strict=True)):
        _draw(axes, search, objective, first=place == 0)
        dress(axes, y=plain_text(f"{objective} ({direction})", 34), x="trial" if place == len(grid) - 1 else "")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(-0.6, max(trial.number for trial in search.trials) + 0.6)
    legend(figure, *_keys(search))
    counts = {state: sum(trial.state == state for trial in search.trials) for state in (PRUNED, FAILED)}
    lost = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    return Plate(
        "history",
        "Optimisation history",
        "Every trial in the order of drawing; the line is the best feasible value so far. Pruned trials stand at the "
        "last value that they reported, failed ones at the foot of the picture.",
        f"Values of {len(search.complete)} complete trials" + (f"; {lost}" if lost else "") + ".",
        figure,
    )


def best_so_far(search: SearchRecord, objective: str) -> list[tuple[int, float]]:
    """Trial numbers and the best feasible value up to each; only complete trials count."""
    best: list[tuple[int, float]] = []
    for trial in search.complete:
        value = trial.values[objective]
        if trial.feasible and math.isfinite(value):
            if best and not search.is_better(objective, value, best[-1][1]):
                value = best[-1][1]
            best.append((trial.number, value))
    return best


def _draw(axes: Axes, search: SearchRecord, objective: str, *, first: bool) -> None:
    for trial in search.complete:
        colour = ASKED if trial.baseline else DONE
        face = colour if trial.feasible else "none"
        axes.plot(trial.number, trial.values[objective], "o", color=colour, markerfacecolor=face, markersize=6)
    best = best_so_far(search, objective)
    if best:
        best.append((max(trial.number for trial in search.trials), best[-1][1]))
        axes.step(*zip(*best, strict=True), where="post", color=INK, linewidth=1.5)
    if first:
        pruned = [(trial.number, trial.last_reported) for trial in search.trials if trial.state == PRUNED]
        shown = [(number, value) for number, value in pruned if value is not None and math.isfinite(value)]
        if shown:
            axes.plot(*zip(*shown, strict=True), "v", color=OUT, markersize=6)
    _limit(axes, [trial.values[objective] for trial in search.complete])
    failed = [trial.number for trial in search.trials if trial.state == FAILED]
    axes.plot(failed, np.full(len(failed), 0.03), "x", color=LOST, transform=axes.get_xaxis_transform(), markersize=7)


def _limit(axes: Axes, values: list[float]) -> None:
    """Cut the axis where a few values are so far out that the others could not be told apart."""
    known = np.array([value for value in values if math.isfinite(value)])
    if known.size < 4:
        return
    low, high = np.quantile(known, [0.25, 0.75])
    reach = FAR * max(high - low, 1e-12)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - reach), min(top, high + reach))


def _keys(search: SearchRecord) -> tuple[list[Line2D], list[str]]:
    def shown(meets: bool, handle: Line2D, label: str) -> list[tuple[Line2D, str]]:
        return [(handle, label)] if meets else []

    def mark(marker: str, colour: str, face: str | None = None) -> Line2D:
        return Line2D([], [], marker=marker, linestyle="", color=colour, markerfacecolor=face or colour, markersize=7)

    states = {trial.state for trial in search.trials}
    drawn: list[Trial] = search.complete
    found = [
        *shown(any(not trial.baseline for trial in drawn), mark("o", DONE), "complete"),
        *shown(any(trial.baseline for trial in drawn), mark("o", ASKED), "asked for by the search file"),
        *shown(any(not trial.feasible for trial in drawn), mark("o", DONE, "none"), "breaks a constraint"),
        *shown(PRUNED in states, mark("v", OUT), "pruned"),
        *shown(FAILED in states, mark("x", LOST), "failed"),
        (Line2D([], [], color=INK, linewidth=1.5), "best so far"),
    ]
    return [handle for handle, _ in found], [label for _, label in found]
