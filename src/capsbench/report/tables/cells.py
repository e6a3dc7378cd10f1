"""Cells of one number: mean and sd over seeds, median and quartiles, counts, published values."""

import math

import numpy as np

from capsbench.report.collect import ArmRuns
from capsbench.report.statistics.intervals import Summary, spread, summarize
from capsbench.report.tables.table import MISSING, Cell
from capsbench.sweep_file import Published


def plus_minus(mean: float, sd: float, decimals: int) -> str:
    """`mean ± sd` with `decimals`, or one more where the sd has no two digits otherwise."""
    if math.isnan(sd):
        return f"{mean:,.{decimals}f}"
    digits = (
        decimals
        if sd <= 1e-12 * abs(mean)
        else min(max(decimals, 1 - math.floor(math.log10(sd))), decimals + bool(decimals))
    )
    return f"{mean:,.{digits}f} ± {sd:,.{digits}f}"


def summary_cell(found: Summary | None, decimals: int) -> Cell:
    """Mean ± sd over seeds."""
    if found is None:
        return Cell(MISSING)
    numbers = {"mean": found.mean, "sd": found.sd, "min": found.lowest, "max": found.highest}
    return Cell(plus_minus(found.mean, found.sd, decimals), numbers)


def mean_cell(runs: ArmRuns, metric: str, factor: float, decimals: int) -> Cell:
    """Mean ± sd of a metric over the finished runs, times `factor`."""
    values = runs.values(metric)
    return summary_cell(summarize(factor * values) if values.size else None, decimals)


def time_cell(runs: ArmRuns, metric: str) -> Cell:
    """Median and quartiles over seeds."""
    values = runs.values(metric)
    if not values.size:
        return Cell(MISSING)
    found = spread(values)
    decimals = 0 if found.median >= 100 else 1
    quartiles = f" [{found.lower_quartile:,.{decimals}f}, {found.upper_quartile:,.{decimals}f}]"
    text = f"{found.median:,.{decimals}f}" + (quartiles if found.count > 1 else "")
    return Cell(text, {"median": found.median, "q1": found.lower_quartile, "q3": found.upper_quartile})


def count_cell(runs: ArmRuns, metric: str, factor: float, decimals: int) -> Cell:
    """A number that all runs of an arm share, times `factor`; a range where they do not."""
    values = np.unique(factor * runs.values(metric))
    if not values.size:
        return Cell(MISSING)
    text = " to ".join(f"{value:,.{decimals}f}" for value in dict.fromkeys((values[0], values[-1])))
    return Cell(text, {"": float(values[0])})


def published_cell(published: Published | None) -> Cell:
    """A published number, marked with where it is from and how it was obtained."""
    if published is None:
        return Cell(MISSING)
    number = f"{published.value:g}" + ("" if published.sd is None else f" ± {published.sd:g}")
    unit = "" if published.unit == "error %" else f" {published.unit}"
    origin = "; ".join(text for text in (published.source, published.how) if text)
    return Cell(f"{number}{unit} ({origin})" if origin else f"{number}{unit}")
