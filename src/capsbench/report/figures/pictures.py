"""Reconstructions: test images and what the decoder makes of the capsule of the predicted class."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from capsbench.errors import CapsbenchError
from capsbench.report.analysis import Analysis
from capsbench.report.arrays import read_arrays
from capsbench.report.figures.style import Plate, new_figure, plain_text

SHOWN = 10


def reconstructions_plate(analysis: Analysis) -> Plate | None:
    """Originals over reconstructions for each arm with a decoder, first finished seed; None without any."""
    found = {}
    for arm in analysis.ablation.arms.values():
        kept = next((pictures for run in arm.done if run.path and (pictures := _read(run.path))), None)
        if kept:
            found[arm.arm.label] = kept
    if not found:
        return None
    columns = min(SHOWN, max(len(images) for images, *_ in found.values()))
    figure = new_figure(9, 0.35 + 2.25 * len(found))
    for part, (label, (images, rebuilt, labels, predicted)) in zip(
        np.atleast_1d(np.array(figure.subfigures(len(found), 1))), found.items(), strict=True
    ):
        part.suptitle(plain_text(label), fontsize=11, x=0.01, ha="left")
        grid = part.subplots(2, columns, squeeze=False)
        for place in range(columns):
            known = place < len(images)
            show_image(grid[0, place], images[place] if known else None)
            show_image(grid[1, place], rebuilt[place] if known else None)
            if known:
                right = labels[place] == predicted[place]
                text = f"{labels[place]}" if right else f"{labels[place]} → {predicted[place]}"
                grid[0, place].set_title(text, fontsize=10, color="#1b1b1b" if right else "#B02A00")
        grid[0, 0].set_ylabel("image", fontsize=9)
        grid[1, 0].set_ylabel("rebuilt", fontsize=9)
    return Plate(
        "reconstructions",
        "Reconstructions",
        "Test images above, their reconstructions below, from the first finished seed. The number is the true class, "
        "with the predicted one after an arrow where it is wrong.",
        f"Reconstructed test images of {', '.join(found)}.",
        figure,
    )


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    path = folder / "pictures.npz"
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, ("images", "reconstructions", "labels", "predicted"))
    except CapsbenchError:
        return None
    images, rebuilt, labels, predicted = arrays.values()
    if images.ndim != 4 or rebuilt.shape != images.shape or {labels.shape, predicted.shape} != {images.shape[:1]}:
        return None
    return (images, rebuilt, labels, predicted) if len(images) else None


def show_image(axes: Axes, image: UInt8[np.ndarray, "channels height width"] | None) -> None:
    """Draw one grey or colour picture without a frame; nothing but an empty place where there is none."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if image is None:
        return
    if len(image) == 3:
        axes.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
    else:
        axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
