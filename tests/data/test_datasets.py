import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from capsbench.config import Data, DatasetName, Viewpoint
from capsbench.data.datasets import LOADERS, load_dataset
from capsbench.data.published import PUBLISHED
from capsbench.errors import CapsbenchError


def test_mnist_is_complete(mnist):
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert mnist.test_images.shape == (10_000, 1, 28, 28)
    assert mnist.train_images.dtype == mnist.test_images.dtype == torch.uint8
    assert mnist.train_labels.dtype == mnist.test_labels.dtype == torch.int64
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(mnist.train_labels).tolist() == train
    assert torch.bincount(mnist.test_labels).tolist() == test
    assert mnist.classes == tuple("0123456789")


def test_mnist_pixels_are_those_everyone_knows(mnist):
    assert mnist.train_images.double().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.train_images.double().std().item() / 255 == pytest.approx(0.3081, abs=5e-5)
    # Checksum of the published file behind its 16-byte header, taken with `tail -c +17 FILE | md5sum`.
    pixels = hashlib.md5(mnist.test_images.numpy().tobytes()).hexdigest()
    assert pixels == "240610fa99e73bfa49df8e7fc24d3206"


def test_tensors_may_be_written_to(mnist):
    assert mnist.train_images.numpy().flags.writeable
    assert mnist.test_labels.numpy().flags.writeable


def test_own_files(small, tmp_path):
    dataset = load_dataset(Data(root=str(small.write(tmp_path))))
    assert dataset.train_images.shape == (40, 1, 28, 28)
    content = small.contents["train-images-idx3-ubyte"]
    assert dataset.train_images.numpy().tobytes() == content[16:]
    assert dataset.test_labels.tolist() == [*range(10), *range(10)]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3-ubyte", np.zeros((40, 32, 32), np.uint8), r"expected images of 28 x 28 .*\(40, 32, 32\)"),
        ("t10k-images-idx3-ubyte", np.zeros((20, 784), np.uint8), r"expected images of 28 x 28 .*\(20, 784\)"),
        ("train-images-idx3-ubyte", np.zeros((40, 28, 28), np.int16), r"expected images .* type >i2"),
        ("train-labels-idx1-ubyte", np.zeros(39, np.uint8), r"expected 40 labels.*\(39,\)"),
        ("train-labels-idx1-ubyte", np.zeros((40, 1), np.uint8), r"expected 40 labels.*\(40, 1\)"),
        ("t10k-labels-idx1-ubyte", np.zeros(20, np.int32), "expected 20 labels, one byte .* type >i4"),
        ("t10k-labels-idx1-ubyte", np.arange(20, dtype=np.uint8), "labels from 0 to 9, found 10 at position 10"),
    ],
)
def test_files_that_are_not_images_and_labels_are_refused(small, tmp_path, idx_bytes, name, array, message):
    small.write(tmp_path)
    (tmp_path / name).write_bytes(idx_bytes(array))
    with pytest.raises(CapsbenchError, match=message) as error:
        load_dataset(Data(root=str(tmp_path)))
    assert str(tmp_path / name) in str(error.value)


def test_every_data_set_that_can_be_asked_for_can_be_loaded_and_listed():
    assert set(LOADERS) == set(DatasetName)
    assert set(PUBLISHED) == {name.value for name in DatasetName} - {"folder"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"partial": True}, r"data\.partial=True is for data\.name=cifar10 only, not for mnist"),
        ({"viewpoint": Viewpoint.azimuth}, r"data\.viewpoint=azimuth is for data\.name=smallnorb only"),
        ({"file_list": "list.csv"}, r"data\.file_list=list\.csv is for data\.name=folder only"),
    ],
)
def test_keys_of_other_data_sets_are_refused(keys, message):
    with pytest.raises(CapsbenchError, match=message):
        load_dataset(Data(**keys))


def test_images_are_resized_by_averaging(small, tmp_path):
    root = str(small.write(tmp_path))
    whole, half = load_dataset(Data(root=root)), load_dataset(Data(root=root, size=14))
    assert half.train_images.shape == (40, 1, 14, 14)
    assert half.test_images.shape == (20, 1, 14, 14)
    for ours, theirs in ((whole.train_images, half.train_images), (whole.test_images, half.test_images)):
        # Pillow's resize is an independent implementation of the same antialiased filter.
        expected = Image.fromarray(ours[3, 0].numpy()).resize((14, 14), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(expected).astype(int) - theirs[3, 0].numpy().astype(int)).max() <= 1
    assert load_dataset(Data(root=root, size=28)).train_images.equal(whole.train_images)
    with pytest.raises(CapsbenchError, match=r"data\.size=0: expected 1 or more"):
        load_dataset(Data(root=root, size=0))
