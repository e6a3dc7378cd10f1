import numpy as np
import pytest
import torch
from PIL import Image

from capsbench.data.datasets import Dataset
from capsbench.data.show import contact_sheet, describe, framed, paired


def dataset(channels: int) -> Dataset:
    """Class c has pixels of value 20 * (c + 1), in the first channel only; three classes, the last one rare."""
    labels = torch.tensor([0, 1, 2] + [0, 1] * 20)
    images = torch.zeros(len(labels), channels, 14, 14, dtype=torch.uint8)
    images[:, 0] = (20 * (labels + 1)).to(torch.uint8)[:, None, None]
    return Dataset("toy", images, labels, images[:5], labels[:5], ("ant", "bee", "caterpillar"))


def test_describe_counts_each_class():
    lines = describe(dataset(1)).splitlines()
    assert lines[0] == "toy: 3 classes, grey images of 14 x 14 pixels"
    assert [line.split() for line in lines[1:]] == [
        ["class", "training", "test"],
        ["ant", "21", "2"],
        ["bee", "21", "2"],
        ["caterpillar", "1", "1"],
        ["all", "43", "5"],
    ]
    assert "RGB images" in describe(dataset(3)).splitlines()[0]


@pytest.mark.parametrize(("channels", "colours"), [(1, [(20,) * 3, (40,) * 3, (60,) * 3]),
                                                   (3, [(20, 0, 0), (40, 0, 0), (60, 0, 0)])])  # fmt: skip
def test_a_row_shows_its_class_only(tmp_path, channels, colours):
    path = contact_sheet(dataset(channels), tmp_path / "new" / "sheet.png")
    with Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    bottom = 0
    # 16 training images and the two test images; the rare class has one of each. 14 x 14 pixels, four times as large.
    for colour, pictures in zip(colours, (18, 18, 2), strict=True):
        widths = (pixels == colour).all(-1).sum(1)
        # A grey of the letters' edges may be a class's grey, but never all along a picture.
        rows = np.flatnonzero(widths >= 56)
        assert rows.tolist() == list(range(rows[0], rows[0] + 56))
        assert np.abs(widths[rows] - 56 * pictures).max() < 5
        assert rows[0] > bottom
        bottom = rows[-1]


def test_two_channels_lie_side_by_side_and_large_pictures_are_made_smaller(tmp_path):
    labels = torch.tensor([0, 1])
    images = torch.zeros(2, 2, 300, 300, dtype=torch.uint8)
    images[:, 0], images[:, 1] = 50, 150
    stereo = Dataset("toy", images, labels, images, labels, ("ant", "bee"), about="what was found")
    with Image.open(contact_sheet(stereo, tmp_path / "sheet.png")) as picture:
        pixels = np.array(picture.convert("L"))
    left, right = pixels == 50, pixels == 150
    # Each pair is 112 x 56 pixels, a little less on both sides of the seam; letters may hold a few such greys.
    assert left.sum() == pytest.approx(4 * 56 * 56, rel=0.1)
    assert right.sum() == pytest.approx(4 * 56 * 56, rel=0.1)
    assert max(pixels.shape) < 16 * 120 + 8 * 120 + 200
    lines = describe(stereo).splitlines()
    assert lines[:2] == ["what was found", "toy: 2 classes, 2-channel images of 300 x 300 pixels"]


def test_real_digits_make_a_readable_sheet(mnist, tmp_path):
    with Image.open(contact_sheet(mnist, tmp_path / "mnist.png")) as picture:
        pixels = np.array(picture.convert("L"))
    assert 500 < pixels.shape[0] < 1000
    assert 800 < pixels.shape[1] < 2000
    first_zero = mnist.train_images[1, 0].numpy()
    rows, columns = np.nonzero(pixels == 0)
    cell = pixels[rows.min() : rows.min() + 56, columns.min() : columns.min() + 56]
    np.testing.assert_array_equal(cell[::2, ::2], first_zero)


def test_pairs_stand_in_the_row_of_their_first_image():
    """Each of three classes lights pixels of its own, so that a pair shows both of its classes."""
    labels = torch.arange(30) % 3
    images = torch.zeros(30, 1, 8, 8, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label + 1, 2:6] = 40 * (label + 1)
    made = paired(Dataset("toy", images, labels, images, labels, ("ant", "bee", "cat")), pad=2, shift=0)
    for pictures, firsts, each in (
        (made.train_images, made.train_labels, 10),
        (made.test_images, made.test_labels, 8),
    ):
        assert pictures.shape[1:] == (1, 12, 12)
        assert firsts.tolist() == [label for label in range(3) for _ in range(each)]
        for picture, label in zip(pictures, firsts.tolist(), strict=True):
            found = set(picture.unique().tolist()) - {0}
            assert 40 * (label + 1) in found
            assert len(found) == 2


def test_a_frame_is_zeros_around():
    one = dataset(1)
    made = framed(one, 3)
    assert made.train_images.shape[2:] == made.test_images.shape[2:] == (20, 20)
    assert torch.equal(made.test_images[:, :, 3:-3, 3:-3], one.test_images)
    assert made.train_images.sum() == one.train_images.sum()
