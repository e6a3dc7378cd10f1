"""Learning curves: validation error by epoch and by training time, from metrics.csv."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.curves import BANDS, curve_keys, curves_text, draw_curve
from capsbench.report.figures.style import Plate, arm_looks, dress, legend, new_figure


def learning_plate(analysis: Analysis) -> Plate | None:
    """Validation error by epoch and by training time; None where no run kept its history."""
    arms = analysis.ablation.arms
    histories = {name: _histories(arm) for name, arm in arms.items()}
    shown = {name for name, found in histories.items() if found is not None}
    if not shown:
        return None
    figure = new_figure(9, 3.8)
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    styles = arm_looks(analysis)
    for name, found in histories.items():
        if found is not None:
            epochs, seconds, errors = found
            draw_curve(by_epoch, epochs, errors, styles[name], limits=(1e-3, 100))
            draw_curve(by_time, np.median(seconds, axis=0), errors, styles[name], limits=(1e-3, 100))
    curves = {name: (found[0], found[2]) for name, found in histories.items() if found is not None}
    dress(by_epoch, x="epoch", y="validation error %")
    dress(by_time, x="training time (s)")
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_epoch.set_yscale("log")
    _plain_log_ticks(by_epoch)
    legend(figure, *curve_keys(styles, shown))
    return Plate(
        "learning",
        "Validation error during training",
        f"Left by epoch, right by seconds of training (median over seeds); logarithmic scale. {BANDS}",
        f"Validation error, %, by epoch. {curves_text(curves, styles)}",
        figure,
    )


def read_history(path: Path) -> Float[np.ndarray, "epochs 3"]:
    """Epoch, seconds and validation error % of every row of metrics.csv that has a validation accuracy."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/accuracy")]
    values = [
        (float(row["epoch"]), float(row["seconds"] or "nan"), 100 * (1 - float(row["val/accuracy"]))) for row in rows
    ]
    return np.array(values, dtype=np.float64).reshape(-1, 3)


def _histories(arm: ArmRuns) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    found = []
    for run in arm.done:
        path = run.path / "metrics.csv" if run.path else None
        if path and path.is_file():
            found.append(read_history(path))
    length = min((len(history) for history in found), default=0)
    if not length:
        return None
    history = np.stack([one[:length] for one in found])
    # Epochs are counted from 0 in the files, and a point belongs to the end of its epoch.
    return history[0, :, 0] + 1, history[:, :, 1], np.maximum(history[:, :, 2], 1e-3)


def _plain_log_ticks(axes: Axes) -> None:
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
