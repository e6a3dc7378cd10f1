import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from capsbench.data.affine import RANGES, matrices
from capsbench.evaluation.transforms import IDENTITY, draw_parameters, fits, transform, undo


def parameters(**given):
    names = ("rotation", "shear", "vertical", "horizontal", "right", "down")
    return torch.tensor([[given.get(name, value) for name, value in zip(names, IDENTITY, strict=True)]])


def blobs(centres, size=28, sigma=2.0):
    """One image whose channels hold one Gaussian spot each, at (x right, y down) from the centre."""
    axis = torch.arange(size) - (size - 1) / 2
    spots = [torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * sigma**2)) for x, y in centres]
    return (255 * torch.stack(spots)[None]).round().to(torch.uint8)


def centroids(image):
    """Centre of mass of each channel, (x right, y down) from the image's centre."""
    weight = image[0].double()
    axis = torch.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    total = weight.sum(dim=(1, 2))
    return torch.stack([(weight.sum(dim=1) @ axis.double()) / total, (weight.sum(dim=2) @ axis.double()) / total], 1)


def scipy_transform(image, numbers, pad):
    """The same transformation by other means: y upwards, complex rotation, rows and columns, scipy's interpolation."""
    rotation, shear, vertical, horizontal, right, down = (float(number) for number in numbers)

    def move(x, up):
        x, up = x * horizontal, up * vertical
        turned = complex(x, up + shear * x) * np.exp(1j * np.deg2rad(rotation))
        return turned.real + right, turned.imag - down

    origin = np.array(move(0, 0))
    columns = [np.array(move(*unit)) - origin for unit in ((1, 0), (0, 1))]
    inverse = np.linalg.inv(np.stack(columns, axis=1))
    flip = np.array([[0, -1], [1, 0]])  # (x, up) to (row, column)
    matrix = flip @ inverse @ flip.T
    padded = np.pad(image.astype(float), pad)
    centre = (np.array(padded.shape) - 1) / 2
    offset = centre - matrix @ (centre + flip @ origin)
    return ndimage.affine_transform(padded, matrix, offset, order=1, mode="grid-constant")


@pytest.mark.parametrize("pad", [0, 6])
def test_agrees_with_scipy(mnist, pad):
    images = mnist.test_images[:40]
    numbers = draw_parameters(images, 1, pad, seed=3)[:, 0]
    ours = transform(images, numbers, pad)[:, 0].numpy()
    for image, row, drawn in zip(images[:, 0].numpy(), numbers, ours, strict=True):
        np.testing.assert_allclose(drawn, scipy_transform(image, row, pad), atol=0.51)


def test_identity_and_whole_pixel_shifts_are_exact(mnist):
    images = mnist.test_images[:20]
    padded = torch.nn.functional.pad(images, [6] * 4)
    assert torch.equal(transform(images, parameters().repeat(20, 1), 6), padded)
    shifted = transform(images, parameters(right=3, down=-2).repeat(20, 1), 6)
    assert torch.equal(shifted, padded.roll((-2, 3), dims=(2, 3)))


def test_positive_rotation_is_counter_clockwise(mnist):
    images = mnist.test_images[:20]
    turned = transform(images, parameters(rotation=90.0).repeat(20, 1), 0)
    assert torch.equal(turned, torch.rot90(images, 1, dims=(2, 3)))


def test_positive_shear_raises_the_right_end_of_a_horizontal_line():
    line = torch.zeros(1, 1, 21, 21, dtype=torch.uint8)
    line[..., 10, :] = 255
    sheared = transform(line, parameters(shear=0.5), 0)[0, 0]
    assert sheared[:, 10].argmax() == 10
    assert sheared[:, 18].argmax() == 6
    assert sheared[:, 2].argmax() == 14


def test_scales_stretch_their_own_axis():
    box = torch.zeros(1, 1, 31, 31, dtype=torch.uint8)
    box[..., 10:21, 10:21] = 255
    tall = transform(box, parameters(vertical=2.0), 0)[0, 0] > 140
    assert tall.any(dim=1).sum() == 21
    assert tall.any(dim=0).sum() == 11
    wide = transform(box, parameters(horizontal=2.0), 0)[0, 0] > 140
    assert torch.equal(wide, tall.T)


@pytest.mark.parametrize("seed", range(5))
def test_parameters_can_be_recovered_from_the_picture(seed):
    image = blobs([(0, 0), (6, 0), (0, -6)])
    drawn = draw_parameters(image, 1, 6, seed)[0]
    before, after = centroids(image), centroids(transform(image, drawn, 6))
    shift = after[0] - before[0]
    matrix = torch.linalg.solve(before[1:] - before[0], after[1:] - after[0]).T
    # With y upwards, M = rotation @ [[h, 0], [shear h, v]]: its second column is v times the turned vertical axis.
    flip = torch.diag(torch.tensor([1.0, -1.0]).double())
    matrix = flip @ matrix @ flip
    vertical = matrix[:, 1].norm()
    angle = torch.atan2(-matrix[0, 1], matrix[1, 1])
    horizontal = matrix[:, 0] @ torch.stack([angle.cos(), angle.sin()])
    shear = matrix[:, 0] @ torch.stack([-angle.sin(), angle.cos()]) / horizontal
    found = torch.stack([angle.rad2deg(), shear, vertical, horizontal, *shift])
    tolerance = torch.tensor([0.5, 0.01, 0.01, 0.01, 0.05, 0.05])
    assert (found - drawn[0]).abs().le(tolerance).all(), (found, drawn)


def test_stored_parameters_undo_the_transformation(mnist):
    images = mnist.test_images[:200]
    drawn = draw_parameters(images, 1, 6, seed=0)[:, 0]
    moved = transform(images, drawn, 6)

    def error(rebuilt):
        return (rebuilt.float() - images.float()).abs().mean().item()

    assert error(undo(moved, drawn, 6)) < 8
    for column in range(6):
        wrong = drawn.clone()
        wrong[:, column] = torch.tensor(IDENTITY)[column]
        assert error(undo(moved, wrong, 6)) > 1.2 * error(undo(moved, drawn, 6)), column
    assert error(undo(moved, torch.tensor(IDENTITY).repeat(200, 1), 6)) > 30


def test_smooth_pictures_come_back_nearly_exactly_and_every_number_is_needed():
    images = blobs([(0, 0), (5, -3), (-4, 6)], sigma=3.0).repeat(20, 1, 1, 1)
    drawn = draw_parameters(images, 1, 8, seed=0)[:, 0]
    moved = transform(images, drawn, 8)

    def error(how):
        inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
        return (undo(moved, how, 8)[inner].float() - images[inner].float()).abs().mean().item()

    right = error(drawn)
    assert right < 2.5
    for column in range(6):
        wrong = drawn.clone()
        wrong[:, column] = torch.tensor(IDENTITY)[column]
        assert error(wrong) > 2 * right, column


def test_drawing_depends_on_the_seed_alone_and_few_variants_begin_many(mnist):
    images = mnist.test_images[:50]
    many = draw_parameters(images, 4, 6, seed=1)
    torch.rand(5)
    assert torch.equal(draw_parameters(images, 2, 6, seed=1), many[:, :2])
    assert not torch.equal(draw_parameters(images, 2, 6, seed=2), many[:, :2])
    assert many.shape == (50, 4, 6)
    assert len(many.flatten(0, 1).unique(dim=0)) == 200


def test_rendering_does_not_depend_on_the_batch(mnist):
    images = mnist.test_images[:30]
    drawn = draw_parameters(images, 1, 6, seed=5)[:, 0]
    together = transform(images, drawn, 6)
    apart = torch.cat([transform(images[i : i + 1], drawn[i : i + 1], 6) for i in range(30)])
    assert torch.equal(together, apart)


def test_drawn_numbers_are_uniform_over_their_ranges(mnist):
    drawn = draw_parameters(mnist.test_images, 8, 6, seed=0).flatten(0, 1).numpy()
    for column, (low, high) in enumerate(RANGES):
        assert stats.kstest(drawn[:, column], stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_translations_are_uniform_over_the_shifts_that_fit():
    # One pixel at the centre: the shifts that fit depend on the shape only through its reach.
    dot = torch.zeros(3000, 1, 9, 9, dtype=torch.uint8)
    dot[..., 4, 4] = 255
    drawn = draw_parameters(dot, 1, 4, seed=0)[:, 0]
    reach = matrices(drawn).abs().sum(dim=2)
    most = (17 + 1) / 2 - reach
    for axis in range(2):
        share = (drawn[:, 4 + axis] / most[:, axis]).numpy()
        assert stats.kstest(share, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_digits_stay_whole_in_the_padded_frame_and_reach_its_edge(mnist):
    images = mnist.test_images
    drawn = draw_parameters(images, 4, 6, seed=0)
    touching = 0
    for variant in drawn.unbind(dim=1):
        assert fits(images, variant, 6).all()
        frame, wider = transform(images, variant, 6), transform(images, variant, 16)
        assert torch.equal(torch.nn.functional.pad(frame, [10] * 4), wider)
        touching += int((frame.flatten(1).sum(1) != frame[..., 2:-2, 2:-2].flatten(1).sum(1)).sum())
    assert touching > 100


def test_what_cannot_fit_overhangs_both_sides_equally():
    full = torch.full((50, 3, 12, 20), 9, dtype=torch.uint8)
    drawn = draw_parameters(full, 1, 0, seed=0)[:, 0]
    scaled_up = (drawn[:, 2] > 1.05) & (drawn[:, 3] > 1.05)
    assert scaled_up.any()
    assert drawn[scaled_up, 4:].abs().max() < 1e-6
    assert not fits(full, drawn, 0)[scaled_up].any()


def test_blank_images_and_channels_are_no_trouble():
    blank = torch.zeros(2, 3, 12, 12, dtype=torch.uint8)
    drawn = draw_parameters(blank, 1, 2, seed=0)[:, 0]
    assert torch.isfinite(drawn).all()
    assert transform(blank, drawn, 2).shape == (2, 3, 16, 16)
    # A pixel in one channel only is the digit for all of them.
    blank[:, 2, 0, 0] = 255
    assert not torch.equal(draw_parameters(blank, 1, 2, seed=0)[:, 0, 4:], drawn[:, 4:])
