import numpy as np
import pytest
from scipy.io import savemat

from capsbench.config import Data, DatasetName
from capsbench.data import affnist
from capsbench.data.affnist import read_affnist
from capsbench.data.datasets import load_dataset
from capsbench.errors import CapsbenchError
from data.writers import write_affnist

DRAW = np.random.default_rng(13)
IMAGES, LABELS = DRAW.integers(0, 256, (25, 1, 40, 40), dtype=np.uint8), np.arange(25) % 10
FACTORS = DRAW.uniform(-1, 1, (25, 6))
WHOLE = {"image": IMAGES.reshape(25, -1).T, "label_int": LABELS[None], "human_readable_transform": FACTORS.T}


def test_images_labels_and_transformations_come_back(tmp_path):
    write_affnist(tmp_path / "test.mat", IMAGES, LABELS, FACTORS)
    images, labels, factors = read_affnist(tmp_path / "test.mat")
    np.testing.assert_array_equal(images.numpy(), IMAGES)
    assert labels.tolist() == LABELS.tolist()
    np.testing.assert_allclose(factors.numpy(), FACTORS, rtol=1e-6)


def test_as_a_data_set_it_is_tested_on_after_padded_mnist(tmp_path, small, monkeypatch):
    write_affnist(tmp_path / "test.mat", IMAGES, LABELS, FACTORS)
    digits = load_dataset(Data(root=str(small.write(tmp_path / "digits"))))
    monkeypatch.setattr(affnist, "load_idx", lambda published, root: digits)
    dataset = load_dataset(Data(name=DatasetName.affnist, root=str(tmp_path)))
    assert dataset.train_images.shape == (40, 1, 40, 40)
    assert dataset.train_images[:, :, 6:-6, 6:-6].equal(digits.train_images)
    assert dataset.train_images.sum() == digits.train_images.sum()
    np.testing.assert_array_equal(dataset.test_images.numpy(), IMAGES)
    assert dataset.train_factors is None
    assert dataset.test_factors.shape == (25, 6)
    assert len(dataset.factors) == 6


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"label_int": LABELS}, "expected affNISTdata to be a structure with image, human_readable_transform"),
        (np.zeros(3), "expected affNISTdata to be a structure with image, label_int, human_readable_transform"),
        ({**WHOLE, "image": np.zeros((784, 3), np.uint8)}, r"expected image of 1,600 x N bytes, found \(784, 3\)"),
        ({**WHOLE, "image": np.zeros((1600, 3))}, r"expected image of 1,600 x N bytes.*float64"),
        ({**WHOLE, "label_int": np.zeros((1, 24))}, "expected 25 numbers in label_int"),
        ({**WHOLE, "label_int": np.full((1, 25), 10)}, "expected labels from 0 to 9, found 10"),
        ({**WHOLE, "human_readable_transform": FACTORS}, r"expected human_readable_transform of 6 x 25 numbers"),
    ],
)
def test_other_contents_are_refused(tmp_path, record, message):
    savemat(tmp_path / "test.mat", {"affNISTdata": record})
    with pytest.raises(CapsbenchError, match=message) as error:
        read_affnist(tmp_path / "test.mat")
    assert str(tmp_path / "test.mat") in str(error.value)
