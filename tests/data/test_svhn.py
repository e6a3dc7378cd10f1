import numpy as np
import pytest
from scipy.io import savemat

from capsbench.config import Data, DatasetName
from capsbench.data.datasets import load_dataset
from capsbench.errors import CapsbenchError
from data.writers import write_svhn

DRAW = np.random.default_rng(10)
IMAGES, LABELS = DRAW.integers(0, 256, (25, 3, 32, 32), dtype=np.uint8), np.arange(25) % 10


def load(root):
    return load_dataset(Data(name=DatasetName.svhn, root=str(root)))


@pytest.mark.parametrize("compressed", [False, True])
def test_images_and_digits_come_back(tmp_path, compressed):
    write_svhn(tmp_path / "train_32x32.mat", IMAGES[:15], LABELS[:15], compressed=compressed)
    write_svhn(tmp_path / "test_32x32.mat", IMAGES[15:], LABELS[15:], compressed=compressed)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images.numpy(), IMAGES[:15])
    np.testing.assert_array_equal(dataset.test_images.numpy(), IMAGES[15:])
    assert dataset.train_labels.tolist() == LABELS[:15].tolist()
    assert dataset.test_labels.tolist() == LABELS[15:].tolist()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": np.zeros((32, 32, 3), np.uint8), "y": np.ones((3, 1))}, r"expected X of 32 x 32 x 3 x N bytes"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))}, r"expected X .* type float64"),
        (
            {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1))},
            r"expected y of 2 x 1 numbers, found shape \(3, 1\)",
        ),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": "ab"}, "y: expected an array of real numbers"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1], [0]]}, "labels from 1 to 10, found 0 at position 1"),
        (
            {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1.5], [1]]},
            r"labels from 1 to 10, found 1\.5 at position 0",
        ),
        ({"X": "text", "y": [[1]]}, "X: expected an array of real numbers"),
    ],
)
def test_other_contents_are_refused(tmp_path, variables, message):
    write_svhn(tmp_path / "test_32x32.mat", IMAGES, LABELS)
    savemat(tmp_path / "train_32x32.mat", variables)
    with pytest.raises(CapsbenchError, match=message) as error:
        load(tmp_path)
    assert str(tmp_path / "train_32x32.mat") in str(error.value)
