import bz2

import numpy as np
import pytest

from capsbench.config import Data, DatasetName
from capsbench.data.datasets import load_dataset
from capsbench.errors import CapsbenchError
from data.writers import libsvm_lines

DRAW = np.random.default_rng(9)
PIXELS = DRAW.integers(0, 256, (25, 256), dtype=np.uint8)
VALUES, LABELS = PIXELS.astype(np.float64) / 127.5 - 1, np.arange(25) % 10


def load(root):
    return load_dataset(Data(name=DatasetName.usps, root=str(root)))


def write(root, labels=LABELS, values=VALUES):
    (root / "usps.bz2").write_bytes(bz2.compress(libsvm_lines(values[:15], labels[:15] + 1)))
    (root / "usps.t").write_bytes(libsvm_lines(values[15:], labels[15:] + 1))


def test_values_become_bytes_and_labels_digits(tmp_path):
    write(tmp_path)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images.numpy().reshape(15, 256), PIXELS[:15])
    np.testing.assert_array_equal(dataset.test_images.numpy().reshape(10, 256), PIXELS[15:])
    assert dataset.train_images.shape == (15, 1, 16, 16)
    assert dataset.train_labels.tolist() == LABELS[:15].tolist()
    assert dataset.test_labels.tolist() == LABELS[15:].tolist()


def test_other_numbers_are_refused(tmp_path):
    write(tmp_path, labels=np.where(np.arange(25) == 3, 10, LABELS))
    with pytest.raises(CapsbenchError, match=r"usps\.bz2: expected labels from 1 to 10, found 11 in example 4"):
        load(tmp_path)
    write(tmp_path, values=VALUES * 1.5)
    with pytest.raises(CapsbenchError, match=r"usps\.bz2: expected values from -1 to 1, found"):
        load(tmp_path)
