import numpy as np
import pytest

from capsbench.evaluation.corruptions.marks import canny, canny_edges, dotted_line, stripe, zigzag


class Fixed(np.random.Generator):
    """Draws what it is told."""

    def __init__(self, *values):
        super().__init__(np.random.PCG64(0))
        self.values = list(values)

    def integers(self, low, high, size):
        return np.full(size, self.values.pop(0))


ANY = np.random.default_rng(0)


def blank(count=1, height=28, width=28):
    return np.zeros((count, 1, height, width), dtype=np.float32)


def test_the_third_stripe_is_the_published_one(mnist):
    digits = mnist.test_images[:5].numpy().astype(np.float32) / 255
    expected = digits.copy()
    expected[..., :7] = 1 - expected[..., :7]
    expected[..., 21:] = 1 - expected[..., 21:]
    assert np.array_equal(stripe(digits, 3, np.random.default_rng(0)), expected)
    assert (stripe(blank(), 1, ANY)[0, 0, 0] == 1).sum() == 6


def test_a_dotted_line_is_dots_on_a_line():
    marked = dotted_line(blank(), 1, Fixed(10))[0, 0]
    assert (marked[10, [2, 3, 6, 7, 26, 27]] == 1).all()
    assert marked[:, [0, 1, 4, 5]].max() == 0
    assert marked[9, 2] == pytest.approx(1 + np.log(1 - 1 / 2.3))
    assert marked[:8].max() == marked[13:].max() == 0
    drawn = dotted_line(blank(300), 1, np.random.default_rng(0))
    assert len(np.unique(drawn.reshape(300, -1), axis=0)) > 200
    assert (drawn[:, 0].max(axis=1)[:, 3::4] > 0.7).all()


def test_a_zigzag_has_teeth_of_two_pixels():
    # Straight across at row 14: a triangle wave that starts downwards and turns after 2 pixels, then after every 4.
    marked = zigzag(blank(), 1, Fixed(14, 0))[0, 0]
    middle = marked[:, 2:25]
    peaks = 14 + 2 * np.array([0, 0.5, 1, 0.5, 0, -0.5, -1, -0.5])
    expected = peaks[np.arange(23) % 8]
    centre = (middle * np.arange(28)[:, None]).sum(axis=0) / middle.sum(axis=0)
    assert centre == pytest.approx(expected, abs=1e-5)
    assert marked[:, :2].max() == marked[:, 25:].max() == 0
    tilted = zigzag(blank(100), 1, np.random.default_rng(0))[:, 0]
    assert (tilted.max(axis=(1, 2)) > 0.7).all()


@pytest.mark.parametrize("corruption", [dotted_line, zigzag])
def test_more_lines_with_severity(corruption):
    ink = [corruption(blank(200), severity, np.random.default_rng(0)).mean() for severity in (1, 2, 3, 4, 5)]
    assert ink == sorted(ink)
    assert ink[4] > 2.5 * ink[0]


def test_edges_of_a_square_are_its_outline():
    image = blank(1, 30, 30)
    image[0, 0, 8:22, 8:22] = 1
    edges = canny_edges(image, 1, ANY)[0, 0] > 0
    rows, columns = np.nonzero(edges)
    sides = [np.abs(places - side) for places in (rows, columns) for side in (7.5, 21.5)]
    on_outline = np.minimum.reduce(sides)
    assert (on_outline <= 1.5).all()
    assert 44 <= edges.sum() <= 60
    assert edges[15, 5:11].sum() == 1
    assert not canny(np.full((1, 9, 9), 0.5, dtype=np.float32), 1.0)[:, 3:6, 3:6].any()


def test_images_in_a_batch_do_not_see_each_other(mnist):
    digits = mnist.test_images[:6].numpy().astype(np.float32) / 255
    together = canny_edges(digits, 2, ANY)
    alone = np.concatenate([canny_edges(digit[None], 2, ANY) for digit in digits])
    assert np.array_equal(together, alone)


def test_weak_edges_stay_only_beside_strong_ones():
    # A step of 0.045 alone has a gradient between the thresholds; continued by one of 0.09 it stays.
    image = np.zeros((2, 40, 20), dtype=np.float32)
    image[:, :, 10:] = 0.045
    image[1, :12, 10:] = 0.09
    assert not canny(image, 1.0)[0, 5:35, 5:15].any()
    assert canny(image, 1.0)[1, 5:35, 8:12].any(axis=1).all()
