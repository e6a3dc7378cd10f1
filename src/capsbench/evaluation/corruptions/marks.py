"""Marks over the digit, and edges in its place, as MNIST-C has them (Mu and Gilmer 2019).

MNIST-C has no severities for these four. Here the published strength is severity 3 of the stripe and severity 1 of the
others, which then grow by further lines and by edges of an ever more blurred image.
"""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from capsbench.evaluation.corruptions.noise import Pixels

STRIPES = (3 / 28, 5 / 28, 7 / 28, 9 / 28, 11 / 28)
EDGE_BLURS = (1.0, 1.25, 1.5, 1.75, 2.0)
EDGE_LOW, EDGE_HIGH = 0.1, 0.2
LINE_REACH = 2.3
TOOTH = 2.0


def stripe(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Negative on both sides of an upright stripe in the middle."""
    del draw
    width = pixels_NCHW.shape[3]
    columns = round(width * STRIPES[severity - 1])
    inverted = pixels_NCHW.copy()
    for part in (slice(0, columns), slice(width - columns, width)):
        inverted[..., part] = 1 - inverted[..., part]
    return inverted


def dotted_line(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Dotted lines from the left edge to the right, each between drawn heights; as many as the severity."""
    count, _, height, width = pixels_NCHW.shape
    row, column = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    marked = pixels_NCHW.copy()
    for _ in range(severity):
        first, last = draw.integers(0, height - 1, (2, count, 1, 1))
        ink = _ink(np.abs(row - (first + (last - first) * column / (width - 1))))
        marked += (ink * (column % 4 >= 2))[:, None]
    clipped: Pixels = np.minimum(marked, 1)
    return clipped


def zigzag(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Zigzag lines across nearly the whole width with teeth of two pixels; as many as the severity."""
    count, _, height, width = pixels_NCHW.shape
    row, column = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    start, end = 2, width - 3
    marked = pixels_NCHW.copy()
    for _ in range(severity):
        first = draw.integers(0, height - 1, (count, 1, 1))
        angle = np.arctan(draw.integers(-5, 5, (count, 1, 1)) / (end - start))
        along = (column - start) * np.cos(angle) + (row - first) * np.sin(angle)
        across = (row - first) * np.cos(angle) - (column - start) * np.sin(angle)
        # A triangle wave from zero: down for one TOOTH, up for two, down again.
        wave = TOOTH * (np.abs((along / TOOTH - 1) % 4 - 2) - 1)
        inside = (column >= start) & (column < end)
        marked += (_ink(np.abs(across - wave)) * inside)[:, None]
    clipped: Pixels = np.minimum(marked, 1)
    return clipped


def canny_edges(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """White edges on black (Canny 1986), found in the mean of the channels."""
    del draw
    grey = pixels_NCHW.mean(axis=1)
    found = canny(grey, EDGE_BLURS[severity - 1]).astype(np.float32)
    edges: Pixels = np.repeat(found[:, None], pixels_NCHW.shape[1], axis=1)
    return edges


def canny(grey_NHW: Float32[np.ndarray, "images height width"], blur: float) -> Bool[np.ndarray, "images height width"]:
    """Pixels whose gradient is the largest across the edge and above 0.2, or above 0.1 and connected to such a one."""
    smoothed = ndimage.gaussian_filter(grey_NHW, (0, blur, blur), mode="constant")
    # Not ndimage.sobel, which would also smooth over images.
    down = ndimage.correlate1d(ndimage.correlate1d(smoothed, (-1, 0, 1), 1), (1, 2, 1), 2)
    right = ndimage.correlate1d(ndimage.correlate1d(smoothed, (-1, 0, 1), 2), (1, 2, 1), 1)
    strength = np.hypot(down, right)
    # Nearest of the four directions: horizontal, the two diagonals, upright.
    sector = np.rint(np.arctan2(down, right) / (np.pi / 4)).astype(np.int64) % 4
    around = np.pad(strength, ((0, 0), (1, 1), (1, 1)))
    height, width = grey_NHW.shape[1:]
    largest = np.zeros(grey_NHW.shape, dtype=bool)
    for number, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = around[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = around[:, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        largest |= (sector == number) & (strength >= ahead) & (strength > behind)
    weak, strong = largest & (strength > EDGE_LOW), largest & (strength > EDGE_HIGH)
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = True
    labels, pieces = ndimage.label(weak, in_plane)
    kept = np.zeros(pieces + 1, dtype=bool)
    kept[labels[strong]] = True
    edges: Bool[np.ndarray, "images height width"] = kept[labels] & weak
    return edges


def _ink(distance: np.ndarray) -> np.ndarray:
    """Brightness of a line at a distance in pixels from its middle."""
    near = np.minimum(distance, LINE_REACH - 1e-6)
    ink: np.ndarray = np.clip(np.log(1 - near / LINE_REACH) + 1, 0, 1).astype(np.float32)
    return ink
