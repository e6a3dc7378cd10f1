"""Batches of pairs: what they show, that every epoch is a function of the seed, and that a stopped run goes on."""

import numpy as np
import pytest
import torch

from capsbench.data.overlap import overlap, pair_codes, train_pairs
from capsbench.data.pair_batches import EvalPairs, TrainPairs

CPU = torch.device("cpu")
DRAW = np.random.default_rng(3)
LABELS = torch.from_numpy(DRAW.permutation(np.arange(50) % 7))
IMAGES = torch.from_numpy(DRAW.integers(0, 256, (50, 1, 28, 28), dtype=np.uint8))
KEYS = {"pad": 4, "shift": 4, "device": CPU}


def batches(**keys) -> TrainPairs:
    return TrainPairs(IMAGES, LABELS, **{**KEYS, "batch_size": 12, "seed": 5, **keys})


def same(one, two) -> bool:
    return all(
        torch.equal(a, b) for first, second in zip(one, two, strict=True) for a, b in zip(first, second, strict=True)
    )


def test_an_epoch_is_the_pairs_of_its_seed_and_number():
    made = batches()
    for epoch in range(2):
        expected = overlap(IMAGES, LABELS, train_pairs(LABELS, 5, epoch, 4), 4)
        images, labels, digits = (torch.cat(parts) for parts in zip(*made, strict=True))
        assert torch.equal(images, expected.images[:48].float() * (1 / 255))
        assert torch.equal(labels, expected.labels[:48])
        assert torch.equal(digits, expected.digits[:48].float() * (1 / 255))
    assert not same(batches(), batches(seed=6))


def test_goes_on_in_the_middle_of_an_epoch():
    whole = [*(made := batches()), *made]
    stopped = batches()
    stopped.load_state_dict({"done": 2})
    assert same([*stopped, *stopped], whole[2:])
    assert stopped.state_dict() == made.state_dict() == {"done": 8}


def test_ranks_share_each_batch():
    parts = [list(batches(rank=rank, world=2)) for rank in range(2)]
    for whole, first, second in zip(batches(), *parts, strict=True):
        assert torch.equal(whole[0][0::2], first[0])
        assert torch.equal(whole[1][1::2], second[1])


def test_an_example_has_the_shapes_of_training_and_moves_nothing_on():
    made = batches()
    assert [part.shape for part in made.example()] == [part.shape for part in next(iter(batches()))]
    assert made.done == 0


def test_overfitting_repeats_the_same_pairs():
    made = batches(repeat=2)
    assert same(list(made), list(made))


def test_evaluation_shows_every_pair_once_and_always_the_same():
    made = EvalPairs(IMAGES, LABELS, batch_size=15, seed=0, each=2, **KEYS)
    assert len(made) == len(list(made)) == 7
    labels = torch.cat([part for _, part, _ in made])
    assert labels[:, 0].tolist() == LABELS.repeat_interleave(2).tolist()
    assert (labels[:, 0] != labels[:, 1]).all()
    assert same(made, made)
    for rank in range(2):
        share = EvalPairs(IMAGES, LABELS, batch_size=15, seed=0, each=2, rank=rank, world=2, **KEYS)
        assert torch.equal(torch.cat([part for _, part, _ in share]), labels[rank::2])
    assert not len(EvalPairs(IMAGES[:0], LABELS[:0], batch_size=15, seed=0, **KEYS))


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_codes_tell_unordered_pairs_apart(classes):
    first, second = torch.triu_indices(min(classes, 40), min(classes, 40), 1)
    one = pair_codes(torch.stack([first, second], 1), classes)
    assert torch.equal(one, pair_codes(torch.stack([second, first], 1), classes))
    assert len(one.unique()) == len(first)
    assert one.max() < classes**2
