import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.data.overlap import Pairs, fixed_pairs, overlap, train_pairs
from capsbench.errors import CapsbenchError

DRAW = np.random.default_rng(21)
LABELS = torch.from_numpy(DRAW.integers(0, 10, 200))
IMAGES = torch.from_numpy(DRAW.integers(0, 256, (200, 1, 28, 28), dtype=np.uint8))


def by_hand(image: np.ndarray, row: int, column: int, pad: int, shift: int) -> np.ndarray:
    """A digit moved by (shift - row, shift - column) inside its padded frame."""
    frame = np.zeros((1, 28 + 2 * pad, 28 + 2 * pad), np.uint8)
    for y in range(28):
        for x in range(28):
            new = y + pad + shift - row, x + pad + shift - column
            if 0 <= new[0] < frame.shape[1] and 0 <= new[1] < frame.shape[2]:
                frame[0, new[0], new[1]] = image[0, y, x]
    return frame


@pytest.mark.parametrize(("pad", "shift"), [(4, 4), (4, 6), (0, 2)])
def test_pictures_are_the_clipped_sum_of_shifted_digits(pad, shift):
    pairs = fixed_pairs(LABELS, 1, shift=shift).part(slice(0, 12))
    made = overlap(IMAGES, LABELS, pairs, pad)
    for number in range(len(pairs)):
        alone = []
        for which in range(2):
            row, column = pairs.corner[number, which].tolist()
            alone.append(by_hand(IMAGES[pairs.index[number, which]].numpy(), row, column, pad, shift))
            np.testing.assert_array_equal(made.digits[number, which].numpy(), alone[-1])
        expected = np.minimum(alone[0].astype(int) + alone[1].astype(int), 255)
        np.testing.assert_array_equal(made.images[number].numpy(), expected)
    assert made.images.shape == (12, 1, 28 + 2 * pad, 28 + 2 * pad)
    assert torch.equal(made.labels, LABELS[pairs.index])


@given(st.integers(0, 5), st.integers(0, 3), st.integers(2, 12), st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_classes_differ_and_every_image_comes_first_once(seed, epoch, classes, shift):
    labels = torch.from_numpy(np.random.default_rng(seed).permutation(np.arange(50) % classes))
    pairs = train_pairs(labels, seed, epoch, shift)
    assert sorted(pairs.index[:, 0].tolist()) == list(range(50))
    seen = labels[pairs.index]
    assert (seen[:, 0] != seen[:, 1]).all()
    assert pairs.corner.min() >= 0
    assert pairs.corner.max() <= 2 * shift
    again = train_pairs(labels, seed, epoch, shift)
    assert torch.equal(pairs.index, again.index)
    assert torch.equal(pairs.corner, again.corner)


def test_seeds_and_epochs_have_other_pairs():
    pairs = train_pairs(LABELS, 0, 0)
    for seed, epoch in ((0, 1), (1, 0)):
        assert not torch.equal(pairs.index, train_pairs(LABELS, seed, epoch).index)


def test_partners_and_corners_are_uniform():
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    pairs = fixed_pairs(labels, 5000)
    for first in range(10):
        partners = pairs.index[pairs.index[:, 0] == first, 1]
        shares = torch.bincount(partners, minlength=10) / len(partners)
        others = labels != labels[first]
        assert not shares[~others].any()
        torch.testing.assert_close(
            shares[others], torch.full((int(others.sum()),), 1 / int(others.sum())), atol=0.02, rtol=0
        )
    shares = torch.bincount(pairs.corner.flatten(), minlength=9) / pairs.corner.numel()
    torch.testing.assert_close(shares, torch.full((9,), 1 / 9), atol=0.005, rtol=0)


def test_the_test_set_is_the_same_on_every_machine():
    """A changed number here makes every stored result one of another test set."""
    pairs = fixed_pairs(torch.arange(1000) % 10, 10)
    assert len(pairs) == 10_000
    assert pairs.index[:3].tolist() == EXPECTED_INDEX
    assert pairs.corner[0].tolist() == EXPECTED_CORNER
    assert hashlib.md5(pairs.index.numpy().tobytes()).hexdigest() == EXPECTED_MD5


EXPECTED_INDEX = [[0, 996], [0, 409], [0, 173]]
EXPECTED_CORNER = [[2, 8], [0, 4]]
EXPECTED_MD5 = "9f014192cd119eb2f0a68ff357f34dd6"


def test_impossible_pairs_are_refused():
    with pytest.raises(CapsbenchError, match="two classes are needed"):
        fixed_pairs(torch.zeros(5, dtype=torch.int64))
    with pytest.raises(CapsbenchError, match="each=0: expected 1 or more"):
        fixed_pairs(LABELS, 0)
    with pytest.raises(CapsbenchError, match="shift=-1: expected 0 or more"):
        train_pairs(LABELS, 0, 0, -1)


def test_a_part_of_the_pairs():
    pairs = fixed_pairs(LABELS, 1)
    part = pairs.part(slice(3, 5))
    assert isinstance(part, Pairs)
    assert torch.equal(part.index, pairs.index[3:5])
    assert len(part) == 2
