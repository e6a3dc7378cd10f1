import numpy as np
import pytest
from scipy import ndimage

from capsbench.evaluation.thickness import stroke_thickness


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_a_bar_is_as_thick_as_it_is_wide(width):
    image = np.zeros((2, 28, 28), dtype=np.uint8)
    image[0, 4:24, 10 : 10 + width] = 255
    image[1, 10 : 10 + width, 4:24] = 255
    assert stroke_thickness(image) == pytest.approx([width, width], abs=0.5)


def test_a_slanted_bar_and_a_ring():
    y, x = np.mgrid[:28, :28] - 13.5
    slanted = np.abs(x - y) / np.sqrt(2) < 2
    ring = np.abs(np.hypot(x, y) - 8) < 1.5
    images = (np.stack([slanted, ring]) * 255).astype(np.uint8)
    assert stroke_thickness(images) == pytest.approx(
        [5 / 2**0.5, 3], abs=0.4
    )  # five diagonals, half a root of two apart


def test_dilation_thickens_and_nothing_is_nothing(mnist):
    digits = mnist.test_images[:30, 0].numpy()
    thicker = np.stack([ndimage.grey_dilation(digit, 3) for digit in digits])
    before, after = stroke_thickness(digits), stroke_thickness(thicker)
    assert (after > before + 1).all()
    assert 1.5 < before.mean() < 4
    assert stroke_thickness(np.zeros((1, 9, 9), dtype=np.uint8)).tolist() == [0.0]
