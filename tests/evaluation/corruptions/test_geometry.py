import numpy as np
import pytest
from scipy import ndimage

from capsbench.evaluation.corruptions import geometry
from capsbench.evaluation.corruptions.geometry import FACTORS, RADIANS, SHIFTS, rotate, scale, shear, translate


@pytest.fixture
def digits(mnist):
    return mnist.test_images[:6].numpy().astype(np.float32) / 255


def warped(image, matrix_xy, offset_xy=(0, 0)):
    """scipy's bilinear resampling; rows before columns."""
    swap = np.array([[0, 1], [1, 0]])
    matrix = swap @ np.array(matrix_xy) @ swap
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix @ centre + np.array(offset_xy)[::-1]
    return ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-constant")


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_against_scipy(monkeypatch, digits, severity, sign):
    monkeypatch.setattr(geometry, "_signs", lambda draw, count: np.full(count, sign))
    draw = np.random.default_rng(0)
    a = sign * RADIANS[severity - 1]
    zoom = 1 / FACTORS[severity - 1]
    move = sign * SHIFTS[severity - 1]
    cases = [
        (shear, [[1, -np.sin(a)], [0, np.cos(a)]], (0, 0)),
        (rotate, [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]], (0, 0)),
        (scale, [[zoom, 0], [0, zoom]], (0, 0)),
        (translate, [[1, 0], [0, 1]], (move, move)),
    ]
    for corruption, matrix, offset in cases:
        answer = corruption(digits, severity, draw)
        expected = np.stack([warped(digit[0], matrix, offset)[None] for digit in digits])
        assert np.abs(answer - expected).max() < 2.5 / 255, corruption.__name__


def test_both_directions_are_drawn(digits):
    pixels = np.repeat(digits[:1], 200, axis=0)
    for corruption, kinds in ((shear, 2), (rotate, 2), (translate, 4), (scale, 1)):
        answers = corruption(pixels, 3, np.random.default_rng(0))
        assert len(np.unique(answers.reshape(200, -1), axis=0)) == kinds
