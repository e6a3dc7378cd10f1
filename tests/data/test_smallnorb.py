import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch

from capsbench.config import Data, DatasetName, Split, Viewpoint
from capsbench.data.datasets import load_dataset
from capsbench.data.published import SMALLNORB
from capsbench.data.smallnorb import FACTORS, familiar
from capsbench.data.splits import split, split_indices
from capsbench.errors import CapsbenchError
from data.writers import norb_matrix

DRAW = np.random.default_rng(12)
COUNT = 90
IMAGES = DRAW.integers(0, 256, (2, COUNT, 2, 96, 96), dtype=np.uint8)
LABELS = (np.arange(COUNT) % 5).astype(np.int32)
INFO = np.stack([np.full(COUNT, 4), np.arange(COUNT) % 9, 2 * (np.arange(COUNT) % 18), np.arange(COUNT) % 6], axis=1)


def write(root, **changes):
    contents = []
    for part in range(2):
        contents += [IMAGES[part], LABELS, INFO.astype(np.int32)]
    for file, array in zip(SMALLNORB.files, contents, strict=True):
        name = file.name.rpartition("-")[2].removesuffix(".mat")
        written = changes.get(name, array) if "training" in file.name else array
        (root / f"{file.name}.gz").write_bytes(gzip.compress(norb_matrix(written), 1))


def load(root, **keys):
    return load_dataset(Data(name=DatasetName.smallnorb, root=str(root), **keys))


def test_pairs_categories_and_factors_come_back(tmp_path):
    write(tmp_path)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images.numpy(), IMAGES[0])
    np.testing.assert_array_equal(dataset.test_images.numpy(), IMAGES[1])
    assert dataset.train_labels.tolist() == LABELS.tolist()
    assert dataset.factors == FACTORS
    np.testing.assert_array_equal(dataset.test_factors.numpy(), INFO)


@pytest.mark.parametrize(
    ("viewpoint", "column", "codes", "share"),
    [(Viewpoint.azimuth, 2, {30, 32, 34, 0, 2, 4}, 1 / 3), (Viewpoint.elevation, 1, {0, 1, 2}, 1 / 3)],
)
def test_training_leaves_viewpoints_novel(tmp_path, viewpoint, column, codes, share):
    write(tmp_path)
    dataset = load(tmp_path, viewpoint=viewpoint)
    assert set(dataset.train_factors[:, column].tolist()) == codes
    kept = np.isin(INFO[:, column], list(codes))
    np.testing.assert_array_equal(dataset.train_images.numpy(), IMAGES[0][kept])
    assert kept.mean() == pytest.approx(share)
    assert len(dataset.test_labels) == COUNT
    np.testing.assert_array_equal(familiar(dataset.test_factors, viewpoint).numpy(), kept)
    assert f"training on 30 of 90 images, those of {viewpoint} codes" in dataset.about
    assert familiar(dataset.test_factors, Viewpoint.all).all()


def test_the_papers_recipe_halves_images_and_keeps_factors_with_their_images(tmp_path):
    write(tmp_path)
    cfg = Data(name=DatasetName.smallnorb, size=48, crop=32, validation_share=0.1)
    splits = split(load(tmp_path, size=48), cfg)
    assert splits.train_images.shape == (81, 2, 48, 48)
    assert splits.validation_images.shape == (9, 2, 32, 32)
    assert splits.test_images.shape == (COUNT, 2, 32, 32)
    assert torch.equal(splits.validation_factors[:, 1] % 9, splits.validation_factors[:, 1])
    # Image n has category n % 5, elevation n % 9 and lighting n % 6: together they tell it.
    known = {(row % 5, row % 9, row % 6): 2 * (row % 18) for row in range(COUNT)}
    for label, (_, elevation, azimuth, lighting) in zip(
        splits.validation_labels.tolist(), splits.validation_factors.tolist(), strict=True
    ):
        assert known[label, elevation, lighting] == azimuth


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dat": IMAGES[0][:, :1].copy()}, r"dat.*expected N x 2 x 96 x 96 bytes, found shape \(90, 1, 96, 96\)"),
        ({"cat": LABELS[:-1]}, r"cat.*expected 90 whole numbers"),
        ({"cat": LABELS.astype(np.float32)}, r"cat.*expected 90 whole numbers.*float32"),
        ({"cat": LABELS + 1}, r"cat.*expected labels from 0 to 4, found 5"),
        ({"info": INFO[:, :3].astype(np.int32)}, r"info.*expected 90 x 4 whole numbers \(instance, elevation"),
        ({"info": (INFO + 30).astype(np.int32)}, r"info.*expected instance codes from 0 to 9, found 34 to 34"),
    ],
)
def test_other_contents_are_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(CapsbenchError, match=message):
        load(tmp_path)


def test_a_toy_held_out_validates_on_familiar_viewpoints_and_is_followed_on_novel_ones(tmp_path):
    toys = INFO.copy()
    toys[:, 0] = np.arange(COUNT) // 18
    write(tmp_path, info=toys.astype(np.int32))
    cfg = Data(name=DatasetName.smallnorb, viewpoint=Viewpoint.elevation, split=Split.instance, crop=64)
    dataset = load(tmp_path, viewpoint=Viewpoint.elevation)
    assert len(dataset.novel_labels) == len(dataset.novel_images) == 60
    np.testing.assert_array_equal(dataset.novel_images.numpy(), IMAGES[0][~np.isin(INFO[:, 1], [0, 1, 2])])
    splits = split(dataset, cfg)
    (held,) = splits.validation_factors[:, 0].unique().tolist()
    assert len(splits.validation_labels) == 6
    assert len(splits.train_labels) == 24
    assert splits.novel_images.shape == (12, 2, 64, 64)
    novel = np.flatnonzero((toys[:, 0] == held) & ~np.isin(toys[:, 1], [0, 1, 2]))
    assert splits.novel_labels.tolist() == LABELS[novel].tolist()
    np.testing.assert_array_equal(splits.novel_images.numpy(), IMAGES[0][novel][:, :, 16:80, 16:80])
    others = {split(dataset, replace(cfg, split_seed=seed)).validation_factors[0, 0].item() for seed in range(20)}
    assert others == set(range(5))
    assert len(split(dataset, replace(cfg, split=Split.random, validation_share=0.1)).novel_labels) == 60


def test_data_without_toys_cannot_hold_one_out():
    with pytest.raises(CapsbenchError, match=r"data\.split=instance: mnist does not say which of several toys"):
        split_indices(torch.arange(10) % 2, 2, Data(split=Split.instance))
