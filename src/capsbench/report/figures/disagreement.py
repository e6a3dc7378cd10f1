"""The test images that only one of two declared arms gets wrong, as pictures."""

import numpy as np
from jaxtyping import Int, UInt8
from matplotlib.figure import SubFigure

from capsbench.report.analysis import Analysis
from capsbench.report.disagreement import Disagreement, disagreements
from capsbench.report.figures.pictures import show_image
from capsbench.report.figures.style import Plate, arm_looks, new_figure
from capsbench.report.test_images import read_test_images

SHOWN = 12
# More comparisons than these would make a figure longer than a page.
COMPARISONS = 6


def disagreement_plate(analysis: Analysis) -> Plate | None:
    """Two rows of pictures per declared comparison; None where the test images are not at hand."""
    found = [one for one in disagreements(analysis.ablation) if one.only_a.size or one.only_b.size][:COMPARISONS]
    images = _images(analysis, found)
    if not found or images is None:
        return None
    styles = arm_looks(analysis)
    figure = new_figure(9, 2.35 * len(found))
    for part, one in zip(np.atleast_1d(np.array(figure.subfigures(len(found), 1))), found, strict=True):
        label_a, label_b = styles[one.a].label, styles[one.b].label
        upper, lower = part.subfigures(2, 1)
        _draw(upper, f"only {label_a} is wrong: {one.only_a.size}", images, one, one.only_a, one.seen_a)
        _draw(lower, f"only {label_b} is wrong: {one.only_b.size}", images, one, one.only_b, one.seen_b)
    summary = "; ".join(
        f"{styles[one.a].label} against {styles[one.b].label}: both wrong on {one.both}, only the first on "
        f"{one.only_a.size}, only the second on {one.only_b.size}, neither on {one.neither}"
        for one in found
    )
    return Plate(
        "disagreement",
        "Images that only one of two arms gets wrong",
        "An arm counts as wrong on an image when more than half of its seeds are. The clearest cases come first; above "
        f"each stands the true class and what the wrong arm takes it for. {summary}.",
        f"Test images on which declared pairs of arms disagree. {summary}.",
        figure,
    )


def _images(analysis: Analysis, found: list[Disagreement]) -> UInt8[np.ndarray, "images channels height width"] | None:
    """Test images, if all the disagreements are about the same ones."""
    if not found or any(not np.array_equal(one.labels, found[0].labels) for one in found):
        return None
    data = {str(run.config.get("data")): run.config.get("data") for run in analysis.ablation.done}
    names = {(one or {}).get("name") for one in data.values()}
    first = next(iter(data.values()), None)
    if len(names) != 1 or not isinstance(first, dict):
        return None
    return read_test_images(first, found[0].labels)


def _draw(
    part: SubFigure,
    title: str,
    images: UInt8[np.ndarray, "images channels height width"],
    one: Disagreement,
    places: Int[np.ndarray, "shown"],
    seen: UInt8[np.ndarray, "images"],
) -> None:
    part.suptitle(title, fontsize=10, x=0.01, ha="left")
    for place, axes in enumerate(part.subplots(1, SHOWN, squeeze=False)[0]):
        known = place < places.size
        show_image(axes, images[places[place]] if known else None)
        if known:
            axes.set_title(f"{one.labels[places[place]]} → {seen[places[place]]}", fontsize=9)
