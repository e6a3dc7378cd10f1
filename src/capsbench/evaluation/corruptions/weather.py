"""Light, fog and mud as MNIST-C has them (Mu and Gilmer 2019)."""

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from capsbench.evaluation.corruptions.noise import Pixels

BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)
# Thickness, and factor by which each finer octave of the fog is weaker.
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
FOG_SIZE, FOG_MAPS = 256, 32
# Mean, deviation and blur of the liquid, threshold of what stays, blur of the drops.
SPATTER = (
    (0.65, 0.3, 4, 0.69, 0.6),
    (0.65, 0.3, 3, 0.68, 0.6),
    (0.65, 0.3, 2, 0.68, 0.5),
    (0.65, 0.3, 1, 0.65, 1.5),
    (0.67, 0.4, 1, 0.65, 1.5),
)
MUD = 63 / 255


def brightness(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """The largest channel of every pixel raised by 0.1 to 0.5; hue and saturation stay."""
    del draw
    value = pixels_NCHW.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(BRIGHTER[severity - 1]), 1)
    brighter: Pixels = np.where(value > 0, pixels_NCHW * raised / np.where(value > 0, value, 1), raised)
    return brighter


def fog(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Clouds added, and the whole darkened so that the brightest value stays what it was.

    Clouds are windows, drawn for each image, of `FOG_MAPS` fractal maps that wrap around; MNIST-C takes the corner of a
    map of its own for each image.
    """
    thickness, decay = FOG[severity - 1]
    count, _, height, width = pixels_NCHW.shape
    maps = plasma(FOG_MAPS, FOG_SIZE, decay, draw)
    which = draw.integers(0, FOG_MAPS, (count, 1, 1))
    rows = (draw.integers(0, FOG_SIZE, (count, 1, 1)) + np.arange(height)[None, :, None]) % FOG_SIZE
    columns = (draw.integers(0, FOG_SIZE, (count, 1, 1)) + np.arange(width)[None, None, :]) % FOG_SIZE
    clouds = maps[which, rows, columns][:, None]
    brightest = pixels_NCHW.max(axis=(1, 2, 3), keepdims=True)
    foggy: Pixels = ((pixels_NCHW + thickness * clouds) * brightest / (brightest + thickness)).astype(np.float32)
    return foggy


def plasma(count: int, size: int, decay: float, draw: np.random.Generator) -> Float64[np.ndarray, "count size size"]:
    """Fractal maps in [0, 1] by the diamond-square algorithm (Fournier, Fussell and Carpenter 1982), wrapped around.

    Args:
        count: maps.
        size: of a map, a power of two.
        decay: the spread of each finer level is smaller by the square of this.
        draw: the generator.
    """
    maps = np.zeros((count, size, size))
    step, spread = size, 100.0
    while step >= 2:
        half = step // 2
        corners = maps[:, ::step, ::step]
        squares = corners + np.roll(corners, -1, 1) + np.roll(corners, -1, 2) + np.roll(corners, (-1, -1), (1, 2))
        centres = squares / 4 + spread**2 * draw.uniform(-1, 1, corners.shape)
        maps[:, half::step, half::step] = centres
        across = corners + np.roll(corners, -1, 2) + centres + np.roll(centres, 1, 1)
        maps[:, ::step, half::step] = across / 4 + spread**2 * draw.uniform(-1, 1, corners.shape)
        down = corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 2)
        maps[:, half::step, ::step] = down / 4 + spread**2 * draw.uniform(-1, 1, corners.shape)
        step, spread = half, spread / decay
    maps -= maps.min(axis=(1, 2), keepdims=True)
    scaled: Float64[np.ndarray, "count size size"] = maps / maps.max(axis=(1, 2), keepdims=True)
    return scaled


def spatter(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Drops of mud of a quarter of full brightness cover the image."""
    mean, deviation, blur, threshold, edge = SPATTER[severity - 1]
    count, _, height, width = pixels_NCHW.shape
    liquid = draw.normal(mean, deviation, (count, height, width)).astype(np.float32)
    liquid = ndimage.gaussian_filter(liquid, (0, blur, blur), mode="nearest")
    drops: Float32[np.ndarray, "images height width"] = ndimage.gaussian_filter(
        (liquid > threshold).astype(np.float32), (0, edge, edge), mode="nearest"
    )
    cover = np.where(drops < 0.8, np.float32(0), drops)[:, None]
    muddy: Pixels = pixels_NCHW * (1 - cover) + np.float32(MUD) * cover
    return muddy
