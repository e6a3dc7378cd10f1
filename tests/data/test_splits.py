import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.config import Data, Split
from capsbench.data.datasets import Dataset
from capsbench.data.splits import load_splits, shuffled, split, split_indices
from capsbench.errors import CapsbenchError

LABELS = torch.arange(1000) % 10
SETTINGS = {
    "held_out": st.integers(0, 400),
    "kind": st.sampled_from([Split.random, Split.official]),
    "seed": st.integers(0, 2**31),
}


def cfg(**keys) -> Data:
    return Data(**{"validation_images": 200, **keys})


@given(**SETTINGS)
@settings(max_examples=40, deadline=None)
def test_training_and_validation_share_nothing_and_miss_nothing(held_out, kind, seed):
    data = cfg(validation_images=held_out, split=kind, split_seed=seed)
    train, validation = split_indices(LABELS, 10, data)
    assert len(validation) == held_out
    assert sorted(torch.cat([train, validation]).tolist()) == list(range(1000))
    again = split_indices(LABELS, 10, data)
    assert torch.equal(train, again[0])
    assert torch.equal(validation, again[1])


@given(sizes=st.tuples(st.integers(10, 400), st.integers(10, 400)), **SETTINGS)
@settings(max_examples=40, deadline=None)
def test_subsets_are_balanced_nested_and_apart_from_validation(sizes, held_out, kind, seed):
    subsets = []
    for size in sorted(sizes):
        data = cfg(validation_images=held_out, split=kind, split_seed=seed, train_images=size)
        train, validation = split_indices(LABELS, 10, data)
        assert len(train) == len(set(train.tolist())) == size
        counts = torch.bincount(LABELS[train], minlength=10)
        assert counts.max() - counts.min() <= 1
        assert not set(train.tolist()) & set(validation.tolist())
        subsets.append(set(train.tolist()))
    assert subsets[0] <= subsets[1]


def test_validation_does_not_depend_on_the_training_subset():
    whole = split_indices(LABELS, 10, cfg())
    part = split_indices(LABELS, 10, cfg(train_images=50))
    assert torch.equal(whole[1], part[1])
    assert set(part[0].tolist()) < set(whole[0].tolist())


def test_seeds_draw_differently_and_the_official_split_ignores_them():
    first, second = (split_indices(LABELS, 10, cfg(split_seed=seed)) for seed in (0, 1))
    assert not torch.equal(first[1], second[1])
    subsets = [split_indices(LABELS, 10, cfg(split_seed=seed, train_images=100))[0] for seed in (0, 1)]
    assert not torch.equal(*subsets)
    for seed in (0, 1):
        train, validation = split_indices(LABELS, 10, cfg(split=Split.official, split_seed=seed))
        assert validation.tolist() == list(range(200))
        assert train.tolist() == list(range(200, 1000))


def test_random_validation_is_spread_over_the_data():
    _, validation = split_indices(LABELS, 10, cfg())
    thirds = torch.histc(validation.float(), bins=3, min=0, max=999)
    assert thirds.min() > 40


def test_draws_are_the_same_on_every_machine_and_in_every_version():
    # Sorting the raw words of PCG64, whose stream NumPy keeps for ever; a changed number here changes every split.
    assert shuffled(60_000, 0, 0)[:5].tolist() == [53924, 25556, 57691, 20554, 16026]
    assert shuffled(10, 0, 2).tolist() == [0, 4, 6, 3, 9, 5, 7, 1, 8, 2]
    assert np.array_equal(np.sort(shuffled(1000, 3, 1)), np.arange(1000))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"validation_images": 1000}, r"data\.validation_images=1000: expected 0 to 999"),
        ({"validation_images": -1}, r"data\.validation_images=-1: expected 0 to 999"),
        ({"split_seed": -1}, r"data\.split_seed=-1: expected 0 or more"),
        ({"train_images": 0}, r"data\.train_images=0: expected 10 to "),
        ({"train_images": 9}, r"data\.train_images=9: expected 10 to "),
        ({"train_images": 801, "split": Split.official}, r"data\.train_images=801: expected 10 to 800 .*all 800"),
    ],
)
def test_impossible_splits_name_key_and_range(keys, message):
    with pytest.raises(CapsbenchError, match=message):
        split_indices(LABELS, 10, cfg(**keys))


def test_subset_stops_where_the_rarest_class_ends():
    labels = torch.tensor([0] * 50 + [1] * 5 + [2] * 45)
    data = {"validation_images": 0, "split": Split.official}
    train, _ = split_indices(labels, 3, cfg(train_images=15, **data))
    assert torch.bincount(labels[train]).tolist() == [5, 5, 5]
    with pytest.raises(CapsbenchError, match=r"expected 3 to 15 .*rarest class has 5 images"):
        split_indices(labels, 3, cfg(train_images=16, **data))
    with pytest.raises(CapsbenchError, match=r"data\.train_images=8: expected null"):
        split_indices(labels, 4, cfg(train_images=8, **data))


def test_images_stay_with_their_labels_and_the_test_images_are_untouched():
    images = torch.arange(1000, dtype=torch.int64)
    pixels = torch.stack([images // 256, images % 256], 1).to(torch.uint8).reshape(1000, 1, 1, 2)
    dataset = Dataset("mnist", pixels, LABELS, pixels[:30], LABELS[:30], tuple("0123456789"))
    splits = split(dataset, cfg(train_images=100))
    for part, labels in (
        (splits.train_images, splits.train_labels),
        (splits.validation_images, splits.validation_labels),
    ):
        number = part[:, 0, 0, 0].long() * 256 + part[:, 0, 0, 1].long()
        assert torch.equal(number % 10, labels)
    assert splits.test_images is dataset.test_images
    assert splits.test_labels is dataset.test_labels
    assert splits.classes == dataset.classes


def test_mnist_as_the_released_code_splits_it(mnist, monkeypatch):
    monkeypatch.setattr("capsbench.data.splits.load_dataset", lambda cfg: mnist)
    splits = load_splits(Data(split=Split.official, validation_images=10_000))
    assert torch.equal(splits.validation_images, mnist.train_images[:10_000])
    assert torch.equal(splits.validation_labels, mnist.train_labels[:10_000])
    assert torch.equal(splits.train_images, mnist.train_images[10_000:])
    assert len(splits.test_labels) == 10_000


def test_mnist_as_split_by_default(mnist):
    splits = split(mnist, Data())
    assert (len(splits.train_labels), len(splits.validation_labels)) == (55_000, 5_000)
    counts = torch.bincount(splits.validation_labels).tolist()
    assert counts == [497, 570, 487, 507, 489, 455, 489, 519, 523, 464]
