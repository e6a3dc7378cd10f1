"""What the dimensions of a class capsule mean: the paper's figure 4, from the arms with a decoder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from capsbench.errors import CapsbenchError
from capsbench.report.analysis import Analysis
from capsbench.report.arrays import read_arrays
from capsbench.report.figures.style import Plate, dress, new_figure, plain_text

ARMS = 4
IMAGES = 3
GAP = 2
# Inches above and below the pictures: the arm, the classes, the offsets and what they are.
TITLES = 1.15


@dataclass(frozen=True)
class Perturbed:
    """Reconstructions of some images as each dimension of their class capsule is moved, from pictures.npz."""

    rebuilt: UInt8[np.ndarray, "images dims offsets channels height width"]
    labels: UInt8[np.ndarray, "images"]
    offsets: Float[np.ndarray, "offsets"]


def dimensions_plate(analysis: Analysis) -> Plate | None:
    """One panel per image, a row per capsule dimension; None where no run kept such pictures."""
    found: dict[str, Perturbed] = {}
    for arm in analysis.ablation.arms.values():
        kept = next((one for run in arm.done if run.path and (one := read_perturbed(run.path))), None)
        if kept and len(found) < ARMS:
            found[arm.arm.label] = kept
    if not found:
        return None
    columns = min(IMAGES, max(len(kept.labels) for kept in found.values()))
    heights = [
        TITLES + 9 / columns * _mosaic(kept.rebuilt[0]).shape[0] / _mosaic(kept.rebuilt[0]).shape[1]
        for kept in found.values()
    ]
    figure = new_figure(9.4, sum(heights))
    parts = np.atleast_1d(np.array(figure.subfigures(len(found), 1, height_ratios=heights)))
    for part, (label, kept) in zip(parts, found.items(), strict=True):
        part.suptitle(plain_text(label), fontsize=11, x=0.01, ha="left")
        for place, axes in enumerate(part.subplots(1, columns, squeeze=False)[0]):
            if place >= len(kept.labels):
                axes.set_visible(False)
                continue
            _, dims, offsets, channels, height, width = kept.rebuilt.shape
            mosaic = _mosaic(kept.rebuilt[place])
            shown = mosaic if channels == 3 else mosaic[:, :, 0]
            axes.imshow(shown, cmap=None if channels == 3 else "gray_r", vmin=0, vmax=255, interpolation="nearest")
            dress(axes, x="offset", title=f"class {kept.labels[place]}", grid="x")
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
            marks = sorted({0, offsets // 2, offsets - 1})
            axes.set_xticks([(width + GAP) * mark + width / 2 for mark in marks])
            axes.set_xticklabels([f"{kept.offsets[mark]:+.2f}".replace("-", "−") for mark in marks], fontsize=8)
            step = max(1, dims // 8)
            axes.set_yticks([(height + GAP) * dim + height / 2 for dim in range(0, dims, step)])
            axes.set_yticklabels([str(dim + 1) for dim in range(0, dims, step)], fontsize=8)
            axes.set_ylabel("capsule dimension" if place == 0 else "", fontsize=9)
    return Plate(
        "dimensions",
        "What each dimension of a class capsule does",
        "Each row rebuilds a test image from the capsule of its true class, one dimension moved by the offset below "
        "(the middle column is the plain reconstruction), first finished seed; the paper's figure 4.",
        f"Perturbed reconstructions of {', '.join(found)}.",
        figure,
    )


def read_perturbed(folder: Path) -> Perturbed | None:
    """The perturbed reconstructions of a run; None where it kept none."""
    path = folder / "pictures.npz"
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, ("perturbed", "perturbed_labels", "perturbed_offsets"))
    except CapsbenchError:
        return None
    kept = Perturbed(*arrays.values())
    return kept if kept.rebuilt.ndim == 6 and kept.rebuilt.size else None


def _mosaic(
    rebuilt: UInt8[np.ndarray, "dims offsets channels height width"],
) -> UInt8[np.ndarray, "rows columns channels"]:
    """All pictures of one image side by side, offsets to the right and dimensions down, with gaps of zeros."""
    dims, offsets, channels, height, width = rebuilt.shape
    canvas = np.zeros((dims, height + GAP, offsets, width + GAP, channels), dtype=np.uint8)
    canvas[:, :height, :, :width] = rebuilt.transpose(0, 3, 1, 4, 2)
    return canvas.reshape(dims * (height + GAP), offsets * (width + GAP), channels)[:-GAP, :-GAP]
