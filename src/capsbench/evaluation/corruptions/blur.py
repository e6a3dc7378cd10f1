"""Blur as MNIST-C has it (Mu and Gilmer 2019): frosted glass, and movement during exposure."""

import numpy as np
from scipy import ndimage

from capsbench.evaluation.corruptions.noise import Pixels

# Standard deviation of the blur, distance of swaps in pixels, passes.
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
# Length of the trail in pixels to one side, standard deviation of its fading.
MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
MOTION_DEGREES = 45


def glass_blur(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Blurred, half of the pixels swapped with a neighbour, one after the other, and blurred again."""
    deviation, reach, passes = GLASS[severity - 1]
    shuffled = smooth(pixels_NCHW, deviation)
    count, _, height, width = shuffled.shape
    every = np.arange(count)
    for _ in range(passes):
        for row in range(height - reach - 1, reach - 1, -1):
            for column in range(width - reach - 1, reach - 1, -1):
                down, right = draw.integers(-reach, reach + 1, (2, count))
                swap = draw.random((count, 1)) < 0.5
                here, there = shuffled[:, :, row, column].copy(), shuffled[every, :, row + down, column + right]
                shuffled[:, :, row, column] = np.where(swap, there, here)
                shuffled[every, :, row + down, column + right] = np.where(swap, here, there)
    return smooth(shuffled, deviation)


def motion_blur(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """A trail to one side that fades as half a Gaussian, within 45 degrees of horizontal."""
    radius, deviation = MOTION[severity - 1]
    count, _, height, width = pixels_NCHW.shape
    angle = np.deg2rad(draw.uniform(-MOTION_DEGREES, MOTION_DEGREES, count))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights /= weights.sum()
    rows, columns = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    every = np.arange(count)[:, None, None]
    blurred = np.zeros_like(pixels_NCHW)
    for step, weight in zip(steps, weights, strict=True):
        down = np.rint(step * np.sin(angle)).astype(np.int64)[:, None, None]
        right = np.rint(step * np.cos(angle)).astype(np.int64)[:, None, None]
        # Beyond the edge the edge goes on.
        taken = pixels_NCHW.transpose(0, 2, 3, 1)[
            every, np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)
        ]
        blurred += np.float32(weight) * taken.transpose(0, 3, 1, 2)
    return blurred


def smooth(pixels_NCHW: Pixels, deviation: float) -> Pixels:
    """Gaussian blur of every channel by itself."""
    blurred: Pixels = ndimage.gaussian_filter(pixels_NCHW, (0, 0, deviation, deviation), mode="nearest")
    return blurred
