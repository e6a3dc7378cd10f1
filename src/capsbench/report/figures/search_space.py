"""What a search learnt about its space: which parameters matter, and where the good trials lie."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from capsbench.report.figures.cost import pareto_front
from capsbench.report.figures.search_history import ASKED, DONE, OUT
from capsbench.report.figures.style import COLOURS, INK, Plate, dress, new_figure, plain_text
from capsbench.report.search import PRUNED, Axis, SearchRecord, Trial

# Dark is good: the light end would vanish on white.
SHADES = "viridis"


def importance_plate(search: SearchRecord) -> Plate | None:
    """A bar per parameter and objective; None with too few trials to say."""
    weights = {objective: shares for objective, shares in search.importance.items() if shares}
    if not weights:
        return None
    names = list(dict.fromkeys(name for shares in weights.values() for name in shares))
    names.sort(key=lambda name: -max(shares.get(name, 0.0) for shares in weights.values()))
    figure = new_figure(8.5, 0.9 + 0.42 * len(names))
    grid = figure.subplots(1, len(weights), sharey=True, squeeze=False)[0]
    for place, (axes, (objective, shares)) in enumerate(zip(grid, weights.items(), strict=True)):
        values = [shares.get(name, 0.0) for name in names]
        axes.barh(range(len(names)), values, height=0.6, color=COLOURS[place % len(COLOURS)], alpha=0.75)
        for row, value in enumerate(values):
            axes.annotate(f" {value:.0%}", (value, row), va="center", fontsize=9, color=INK)
        dress(axes, x=plain_text(f"share of importance for {objective}", 40), grid="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1.12)
    grid[0].set_yticks(range(len(names)))
    grid[0].set_yticklabels([plain_text(name, 30) for name in names], fontsize=10)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    listed = "; ".join(
        f"{objective}: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        for objective, shares in weights.items()
    )
    return Plate(
        "importance",
        "Which parameters mattered",
        "PED-ANOVA: how much each parameter's values among the best trials differ from those among all, as a share. "
        f"From {len(search.complete)} complete trials; with few of them the shares are rough, and parameters that "
        "exist only with others are judged on the trials that have them.",
        f"Importance. {listed}.",
        figure,
    )


def parallel_plate(search: SearchRecord) -> Plate | None:
    """A line per trial through all parameters to the first objective; None with fewer than two complete trials."""
    if len(search.complete) < 2:
        return None
    objective = next(iter(search.objectives))
    values = [trial.values[objective] for trial in search.complete if math.isfinite(trial.values[objective])]
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    end = Axis(low, high)
    large_is_good = search.objectives[objective] == "maximize"
    shade = Normalize(low, high if high > low else low + 1)
    colours = colormaps[f"{SHADES}_r" if large_is_good else SHADES]
    figure = new_figure(max(7.5, 1.5 * (len(search.space) + 1)), 4.2)
    axes = figure.subplots()
    names = list(search.space)
    for trial in search.trials:
        if trial.state == PRUNED:
            _line(axes, [search.space[name].place(trial.params.get(name)) for name in names], OUT, 0.9, 0.35)
    worst_first = sorted(search.complete, key=lambda trial: trial.values[objective], reverse=not large_is_good)
    for trial in worst_first:
        places = [search.space[name].place(trial.params.get(name)) for name in names]
        value = trial.values[objective]
        if math.isfinite(value):
            wide = 2.6 if trial.number in search.best else 1.3
            _line(axes, [*places, end.place(value)], colours(shade(value)), wide, 0.9)
    for column, axis in enumerate([*search.space.values(), end]):
        _scale(axes, column, axis)
    axes.set_xlim(-0.3, len(names) + 0.75)
    axes.set_ylim(-0.06, 1.06)
    axes.set_xticks(range(len(names) + 1))
    # Spaces only let long names break after their dots.
    ticks = [plain_text(name.replace(".", ". "), 14).replace(". ", ".") for name in (*names, objective)]
    axes.set_xticklabels(ticks, fontsize=9)
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(shade, colours), ax=axes, pad=0.01, fraction=0.03)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(plain_text(f"{objective} ({search.objectives[objective]})"), fontsize=9)
    return Plate(
        "parallel",
        "Parallel coordinates",
        "A line is a complete trial, coloured by its value; the best are drawn last, the winners thick. Thin, orange "
        "lines that end early were pruned. A line skips a parameter that the trial does not have.",
        f"{len(values)} complete trials through {', '.join(names)} to {objective}.",
        figure,
    )


def front_plate(search: SearchRecord) -> Plate | None:
    """The first objective against each other one, with the Pareto front; None with one objective or fewer than two."""
    first, *others = search.objectives
    trials = [trial for trial in search.complete if all(map(math.isfinite, trial.values.values()))]
    if not others or len(trials) < 2:
        return None
    figure = new_figure(4.6 * len(others) + 1, 4.2)
    for axes, other in zip(figure.subplots(1, len(others), squeeze=False)[0], others, strict=True):
        for trial in trials:
            winner = trial.number in search.best
            colour = COLOURS[1] if winner else ASKED if trial.baseline else DONE
            face = colour if trial.feasible else "none"
            size = 9 if winner else 6
            axes.plot(
                trial.values[other], trial.values[first], "o", color=colour, markerfacecolor=face, markersize=size
            )
            if winner:
                axes.annotate(
                    f" {trial.number}", (trial.values[other], trial.values[first]), fontsize=9, va="bottom", color=INK
                )
        front = _front([trial for trial in trials if trial.feasible], search, other, first)
        if front:
            axes.step(*zip(*front, strict=True), where="post", color="#777777", linestyle="--", linewidth=1.2, zorder=1)
        dress(
            axes,
            x=plain_text(f"{other} ({search.objectives[other]})"),
            y=plain_text(f"{first} ({search.objectives[first]})"),
        )
    return Plate(
        "front",
        "Pareto front",
        "Each point is a complete trial; large, orange ones with their numbers are on the front: no other trial is "
        "better in one objective without being worse in another. Hollow points break a constraint; green ones were "
        "asked for by the search file. The dashed line is the front of the two objectives shown.",
        f"{len(trials)} trials, {len(search.best)} of them on the front of {', '.join(search.objectives)}.",
        figure,
    )


def _front(trials: Sequence[Trial], search: SearchRecord, x: str, y: str) -> list[tuple[float, float]]:
    signs = [-1 if search.objectives[name] == "maximize" else 1 for name in (x, y)]
    points = [(signs[0] * trial.values[x], signs[1] * trial.values[y]) for trial in trials]
    return sorted((signs[0] * left, signs[1] * right) for left, right in pareto_front(points))


def _line(axes: Axes, places: Sequence[float | None], colour: object, width: float, strength: float) -> None:
    known = [(column, place) for column, place in enumerate(places) if place is not None]
    if known:
        columns, heights = zip(*known, strict=True)
        marker = "o" if len(known) == 1 else ""
        axes.plot(columns, np.clip(heights, -0.04, 1.04), color=colour, linewidth=width, alpha=strength, marker=marker)


def _scale(axes: Axes, column: int, axis: Axis) -> None:
    """A vertical axis with its ends, middle or choices written beside it."""
    axes.axvline(column, color="#777777", linewidth=1, zorder=0)
    marks = [(axis.place(choice), choice) for choice in axis.choices] or _marks(axis)
    for place, text in marks:
        axes.annotate(
            plain_text(text, 16),
            (column, place or 0.0),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            va="center",
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )


def _marks(axis: Axis) -> list[tuple[float | None, str]]:
    if axis.high <= axis.low:
        return [(0.5, f"{axis.low:.3g}")]
    middle = math.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
    return [(axis.place(value), f"{value:.3g}") for value in (axis.low, middle, axis.high)]
