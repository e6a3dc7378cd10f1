"""Affine corruptions as MNIST-C has them (Mu and Gilmer 2019), about the centre of the image, bilinear."""

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from capsbench.evaluation.corruptions.noise import Pixels
from capsbench.evaluation.transforms import resample

RADIANS = (0.2, 0.4, 0.6, 0.8, 1.0)
FACTORS = (0.9, 0.8, 0.7, 0.6, 0.5)
SHIFTS = (1, 2, 3, 4, 5)


def shear(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Leaning to the left or right; taller by 1 / cos, as the library that MNIST-C was made with shears."""
    angle = _signs(draw, len(pixels_NCHW)) * RADIANS[severity - 1]
    one = np.ones_like(angle)
    return _warp(pixels_NCHW, np.stack([one, -np.sin(angle), 0 * one, np.cos(angle)], axis=1))


def rotate(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Turned either way by 0.2 to 1 radian."""
    angle = _signs(draw, len(pixels_NCHW)) * RADIANS[severity - 1]
    return _warp(pixels_NCHW, np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1))


def scale(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Shrunk to 90 down to 50 per cent."""
    del draw
    wider = 1 / FACTORS[severity - 1]
    return _warp(pixels_NCHW, np.tile([wider, 0, 0, wider], (len(pixels_NCHW), 1)))


def translate(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Moved diagonally, 1 to 5 pixels along each axis."""
    count = len(pixels_NCHW)
    offset = np.stack([_signs(draw, count), _signs(draw, count)], axis=1) * SHIFTS[severity - 1]
    return _warp(pixels_NCHW, np.tile([1.0, 0, 0, 1], (count, 1)), torch.from_numpy(offset))


def _signs(draw: np.random.Generator, count: int) -> Float64[np.ndarray, "count"]:
    return draw.integers(0, 2, count) * 2.0 - 1


def _warp(
    pixels_NCHW: Pixels, matrix: Float64[np.ndarray, "images 4"], offset: Float64[Tensor, "images 2"] | None = None
) -> Pixels:
    images = torch.from_numpy(np.rint(pixels_NCHW * 255).astype(np.uint8))
    if offset is None:
        offset = torch.zeros(len(images), 2, dtype=torch.float64)
    taken = resample(images, torch.from_numpy(matrix.astype(np.float64).reshape(-1, 2, 2)), offset, 0)
    return taken.numpy().astype(np.float32) / np.float32(255)
