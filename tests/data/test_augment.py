from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from capsbench.config import Data
from capsbench.data.affine import RANGES
from capsbench.data.augment import Augment, apply, augmentation, draw
from capsbench.data.batches import TrainBatches, epoch_plan, to_unit
from capsbench.data.splits import middle
from capsbench.errors import CapsbenchError

CPU = torch.device("cpu")
COUNT, SIZE = 40, 10
ALL = Augment(crop=6, flip=True, brightness=63.0, contrast=(0.2, 1.8), clip=False)
AFFINE = Augment(affine=1.0)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).integers(0, 256, (COUNT, 3, SIZE, SIZE), dtype=np.uint8))


def batches(images, augment=None, **changes) -> TrainBatches:
    asked = {"batch_size": 8, "pad": 0, "shift": 0, "seed": 3, "device": CPU, "augment": augment, **changes}
    return TrainBatches(images, torch.arange(len(images)), **asked)


def by_hand(image: np.ndarray, corner, flip: bool, brightness: float, contrast: float) -> np.ndarray:
    """The released code's recipe for one image, on pixels of 0..255."""
    window = image[:, corner[0] : corner[0] + 6, corner[1] : corner[1] + 6].astype(np.float64)
    if flip:
        window = window[:, :, ::-1]
    window = window + brightness
    mean = window.mean(axis=(1, 2), keepdims=True)
    return (window - mean) * contrast + mean


def test_every_image_is_changed_as_the_plan_says(images):
    order, corners = epoch_plan(COUNT, 0, 3, 0, room=4)
    drawn = draw(COUNT, ALL, 3, 0)
    place = 0
    for pixels, labels in batches(images, ALL):
        for picture, label in zip(pixels, labels.tolist(), strict=True):
            assert label == order[place]
            expected = by_hand(
                images[label].numpy(),
                corners[place].tolist(),
                bool(drawn.flip[place]),
                float(drawn.brightness[place]) * 255,
                float(drawn.contrast[place]),
            )
            np.testing.assert_allclose(picture.numpy() * 255, expected, atol=1e-3)
            place += 1
    assert place == COUNT


def test_draws_cover_their_ranges_and_depend_on_seed_and_epoch_alone():
    drawn = draw(20_000, ALL, 0, 0)
    assert 0.48 < drawn.flip.float().mean() < 0.52
    assert drawn.brightness.abs().max() <= 63 / 255
    assert drawn.brightness.min() < -0.99 * 63 / 255 < 0.99 * 63 / 255 < drawn.brightness.max()
    assert 0.2 <= drawn.contrast.min() < 0.21 < 1.79 < drawn.contrast.max() <= 1.8
    for seed, epoch, same in ((0, 0, True), (0, 1, False), (1, 0, False)):
        again = draw(20_000, ALL, seed, epoch)
        assert torch.equal(drawn.contrast, again.contrast) is same
    _, corners = epoch_plan(20_000, 0, 0, 0, room=4)
    assert torch.bincount(corners.flatten(), minlength=5).min() > 7_500
    assert corners.max() == 4


def test_switching_one_change_on_leaves_the_others_alone(images):
    plain = [pixels for pixels, _ in batches(images, Augment(crop=6))]
    flipped = [pixels for pixels, _ in batches(images, Augment(crop=6, flip=True))]
    turned = 0
    for one, other in zip(plain, flipped, strict=True):
        for before, after in zip(one, other, strict=True):
            assert torch.equal(before, after) or torch.equal(before.flip(2), after)
            turned += not torch.equal(before, after)
    assert 8 < turned < 32


def test_without_augmentation_batches_are_bit_for_bit_what_they_were(images):
    order, corners = epoch_plan(COUNT, 2, 3, 0)
    padded = torch.nn.functional.pad(images, [2] * 4)
    pictures = [pixels for pixels, _ in batches(images, shift=2)]
    for place, picture in enumerate(torch.cat(pictures)):
        row, column = corners[place].tolist()
        window = padded[order[place], :, row : row + SIZE, column : column + SIZE]
        assert torch.equal(picture, to_unit(window[None])[0])


def test_affine_changes_are_scipys(images):
    """Every picture against scipy's interpolation at the places that the drawn matrix names, from the centre."""
    order, corners = epoch_plan(COUNT, 2, 3, 0)
    drawn = draw(COUNT, AFFINE, 3, 0).affine
    padded = torch.nn.functional.pad(images, [2] * 4)
    pictures = torch.cat([pixels for pixels, _ in batches(images, AFFINE, shift=2)])
    centre = np.full(2, (SIZE - 1) / 2)
    for place, picture in enumerate(pictures):
        row, column = corners[place].tolist()
        window = padded[order[place], :, row : row + SIZE, column : column + SIZE].numpy()
        matrix = drawn[place].double().numpy()[::-1, ::-1]  # (right, down) to (row, column)
        for channel, ours in zip(window.astype(float) / 255, picture, strict=True):
            expected = ndimage.affine_transform(
                channel, matrix, centre - matrix @ centre, order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_affine_draws_fill_affnists_ranges_and_depend_on_seed_and_epoch_alone():
    """Scale, shear and rotation read back from the matrices by a decomposition of their own."""
    moves = np.linalg.inv(draw(20_000, AFFINE, 0, 0).affine.double().numpy())
    down = moves[:, :, 1]  # where the unit vector downwards goes: turned and stretched, not sheared
    vertical = np.linalg.norm(down, axis=1)
    rotation = np.rad2deg(np.arctan2(down[:, 0], down[:, 1]))
    horizontal = np.linalg.det(moves) / vertical
    shear = -np.einsum("nr,nr->n", moves[:, :, 0], down) / vertical / horizontal
    for found, (low, high) in zip((rotation, shear, vertical, horizontal), RANGES, strict=True):
        edge = (high - low) / 200
        assert low - 1e-5 <= found.min() < low + edge
        assert high - edge < found.max() <= high + 1e-5
        assert abs(found.mean() - (low + high) / 2) < 2 * edge
    assert abs(np.corrcoef([rotation, shear, vertical, horizontal]) - np.eye(4)).max() < 0.03
    half = np.linalg.inv(draw(20_000, Augment(affine=0.5), 0, 0).affine.double().numpy())[:, :, 1]
    assert 9.9 < np.rad2deg(np.arctan2(half[:, 0], half[:, 1])).max() <= 10 + 1e-5
    for seed, epoch, same in ((0, 0, True), (0, 1, False), (1, 0, False)):
        again = np.linalg.inv(draw(20_000, AFFINE, seed, epoch).affine.double().numpy())
        assert np.array_equal(moves, again) is same


def test_affine_changes_leave_all_other_draws_alone():
    both, plain = draw(COUNT, replace(ALL, affine=1.0), 3, 0), draw(COUNT, ALL, 3, 0)
    assert plain.affine is None
    for name in ("flip", "brightness", "contrast"):
        assert torch.equal(getattr(both, name), getattr(plain, name))


@pytest.mark.parametrize("augment", [ALL, AFFINE], ids=["released", "affine"])
def test_a_resumed_epoch_goes_on_with_the_same_pictures(images, augment):
    whole = list(batches(images, augment))
    resumed = batches(images, augment)
    resumed.load_state_dict({"done": 3})
    for (ours, labels), (theirs, others) in zip(resumed, whole[3:], strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(labels, others)


def test_ranks_share_a_batch(images):
    whole = [pixels for pixels, _ in batches(images, ALL)]
    parts = [[pixels for pixels, _ in batches(images, ALL, rank=rank, world=2)] for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch[0::2], first)
        assert torch.equal(batch[1::2], second)


def test_pixels_stay_in_range_where_nothing_standardises_them(images):
    drawn = draw(COUNT, ALL, 0, 0)
    pixels = to_unit(images)
    clipped, free = (apply(pixels, drawn, slice(None), clip=clip) for clip in (True, False))
    assert clipped.min() >= 0
    assert clipped.max() <= 1
    assert free.min() < 0
    assert torch.equal(free.clamp(0, 1), clipped)


def test_what_the_configuration_asks_for():
    assert augmentation(Data()) == Augment()
    asked = Data(crop=24, flip=True, brightness=63.0, contrast=[0.2, 1.8], standardize=True)
    assert augmentation(asked) == Augment(24, True, 63.0, (0.2, 1.8), clip=False)
    for contrast in ([1.0], [1.8, 0.2], [-1.0, 1.0], [1, 2, 3]):
        with pytest.raises(CapsbenchError, match=r"data\.contrast=.*expected \[lowest, highest\]"):
            augmentation(Data(contrast=contrast))
    assert augmentation(Data(affine=0.5)) == Augment(affine=0.5)
    with pytest.raises(CapsbenchError, match=r"data\.affine=3\.0: expected 0 to 2 times affNIST's ranges"):
        augmentation(Data(affine=3.0))
    with pytest.raises(CapsbenchError, match=r"data\.brightness=300\.0: expected 0 to 255"):
        augmentation(Data(brightness=300.0))


def test_impossible_windows_are_refused(images):
    with pytest.raises(CapsbenchError, match=r"data\.crop=11: expected square images of at least that, found 10 x 10"):
        batches(images, Augment(crop=11))
    with pytest.raises(CapsbenchError, match=r"data\.crop=4: expected square images"):
        batches(images[:, :, :5], Augment(crop=4))
    with pytest.raises(CapsbenchError, match=r"data\.pad=2 with data\.crop=6"):
        batches(images, ALL, pad=2)


def test_the_middle_is_what_is_tested_on(images):
    assert middle(images, None) is images
    assert torch.equal(middle(images, 6), images[:, :, 2:8, 2:8])
    assert torch.equal(middle(images, 5), images[:, :, 2:7, 2:7])
    with pytest.raises(CapsbenchError, match=r"data\.crop=11: expected 1 to 10, since images are 10 x 10"):
        middle(images, 11)
