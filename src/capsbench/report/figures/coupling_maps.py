"""Where routing sends its vote: coupling with the true class by primary capsule, after each iteration."""

import math

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from capsbench.report.analysis import Analysis
from capsbench.report.collect import ArmRuns
from capsbench.report.figures.style import INK, Plate, new_figure, plain_text

ARMS = 6
GAP = 1
# Coupling that nowhere differs from uniform by more than this, as in one iteration, is not worth a picture.
UNIFORM = 0.005


def coupling_maps_plate(analysis: Analysis) -> Plate | None:
    """A mosaic per arm and iteration: one small map per capsule type; None where no arm's coupling was decided."""
    found = {arm.arm.label: maps for arm in analysis.ablation.arms.values() if (maps := mean_maps(arm)) is not None}
    found = dict([(label, maps) for label, maps in found.items() if np.abs(maps - 1).max() > UNIFORM][:ARMS])
    if not found:
        return None
    columns = max(len(maps) for maps in found.values())
    figure = new_figure(2.9 * columns + 1.3, 2.1 * len(found))
    # One scale for all, and never so narrow that noise looks like a decision.
    low = min(0.9, *(float(maps.min()) for maps in found.values()))
    high = max(1.1, *(float(maps.max()) for maps in found.values()))
    reach = max(1 - low, high - 1)
    scale = Normalize(1 - reach, 1 + reach)
    parts = np.atleast_1d(np.array(figure.subfigures(len(found), 1)))
    for part, (label, maps) in zip(parts, found.items(), strict=True):
        part.suptitle(plain_text(label), fontsize=11, x=0.01, ha="left")
        grid = part.subplots(1, columns, squeeze=False)[0]
        picture = None
        for place, axes in enumerate(grid):
            if place >= len(maps):
                axes.set_visible(False)
                continue
            picture = axes.imshow(tiles(maps[place]), cmap="PuOr_r", norm=scale, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.set_title(f"iteration {place + 1}", fontsize=10, color=INK)
        bar = part.colorbar(picture, ax=list(grid), shrink=0.8)
        bar.set_label("coupling / uniform", fontsize=9)
        bar.ax.tick_params(labelsize=8)
        bar.ax.set_ylim(low, high)
    return Plate(
        "coupling_maps",
        "Coupling with the true class, by primary capsule and iteration",
        "Each tile is one type of primary capsules, each of its cells one position in the image. Colour: mean coupling "
        "coefficient with the true class over test images and seeds, divided by uniform coupling: 1 means that routing "
        "decides nothing, more that the capsule's vote goes to the true class.",
        f"Maps of the coupling coefficients of {', '.join(found)}.",
        figure,
    )


def mean_maps(arm: ArmRuns) -> Float[np.ndarray, "iterations types rows columns"] | None:
    """An arm's maps, in units of uniform coupling, averaged over its seeds."""
    kept = [run.figures.get("routing", {}).get("coupling_map") for run in arm.done]
    maps = [np.array(one, dtype=np.float64) for one in kept if one]
    maps = [one for one in maps if one.ndim == 4 and one.shape == maps[0].shape]
    return np.asarray(np.mean(maps, axis=0)) if maps and maps[0].size else None


def tiles(maps: Float[np.ndarray, "types rows columns"]) -> Float[np.ndarray, "height width"]:
    """The maps of all types beside each other in a rectangle, not a number between them."""
    types, rows, columns = maps.shape
    square = math.ceil(math.sqrt(types * rows / columns))
    # A full rectangle that is nearly a square, where there is one: 32 types are 4 rows of 8.
    across = next((width for width in range(square, 2 * square + 1) if types % width == 0), square)
    down = math.ceil(types / across)
    canvas = np.full((down * (rows + GAP), across * (columns + GAP)), np.nan)
    for place, tile in enumerate(maps):
        top, left = place // across * (rows + GAP), place % across * (columns + GAP)
        canvas[top : top + rows, left : left + columns] = tile
    return canvas[:-GAP, :-GAP]
