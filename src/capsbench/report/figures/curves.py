"""What all curve figures share: an arm's mean over seeds and the band that its number of seeds supports."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from capsbench.report.figures.style import Look
from capsbench.report.statistics.bands import MIN_SEEDS, curve_band

BANDS = (
    "Lines are means over seeds. Bands are simultaneous 95 % bands over seeds (the whole curve lies inside; Sidak) "
    f"from {MIN_SEEDS} seeds on; with fewer they are only the range of the seeds."
)

Curve = tuple[Float[np.ndarray, "points"], Float[np.ndarray, "seeds points"]]


def draw_curve(
    axes: Axes,
    x: Float[np.ndarray, "points"],
    curves: Float[np.ndarray, "seeds points"],
    look: Look,
    limits: tuple[float, float],
) -> None:
    """Draw an arm's mean curve and its band, cut off at `limits`."""
    band = curve_band(curves)
    axes.plot(
        x,
        band.mean,
        look.line,
        color=look.colour,
        marker=look.marker,
        markersize=5,
        markeredgecolor="white",
        linewidth=1.8,
    )
    if band.seeds > 1:
        edges = np.clip(band.low, *limits), np.clip(band.high, *limits)
        axes.fill_between(x, *edges, color=look.colour, alpha=0.16, linewidth=0)


def stack_curves(
    curves: Sequence[tuple[Sequence[float], Sequence[float] | Float[np.ndarray, "points"]]],
) -> Curve | None:
    """Curves on the levels of the first; runs measured at other levels cannot be averaged with it."""
    if not curves:
        return None
    levels = list(curves[0][0])
    return np.array(levels, dtype=np.float64), np.array([y for x, y in curves if list(x) == levels], dtype=np.float64)


def curves_text(curves: Mapping[str, Curve], styles: Mapping[str, Look], *, factor: float = 1.0) -> str:
    """Mean curves in words, arm by arm: their value at the first and at the last point."""
    listed = []
    for name, (x, found) in curves.items():
        mean = factor * found.mean(axis=0)
        listed.append(f"{styles[name].label}: {mean[0]:.3g} at {x[0]:g}, {mean[-1]:.3g} at {x[-1]:g}")
    return "; ".join(listed).replace("\n", " ") + "."


def arms_text(count: int) -> str:
    """`1 arm` or `3 arms`."""
    return f"{count} arm{'' if count == 1 else 's'}"


def curve_keys(styles: dict[str, Look], shown: set[str]) -> tuple[list[Line2D], list[str]]:
    """Legend handles and labels of the arms that were drawn."""
    used = [look for name, look in styles.items() if name in shown]
    handles = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, linestyle=look.line, markeredgecolor="white", markersize=7
        )
        for look in used
    ]
    return handles, [look.label for look in used]


def marker_keys(styles: dict[str, Look], shown: set[str]) -> tuple[list[Line2D], list[str]]:
    """Legend handles and labels of the arms that were drawn as markers without lines."""
    handles, labels = curve_keys(styles, shown)
    for handle in handles:
        handle.set_linestyle("")
    return handles, labels
