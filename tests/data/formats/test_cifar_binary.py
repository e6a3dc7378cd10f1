import gzip

import numpy as np
import pytest

from capsbench.data.formats.cifar_binary import read_cifar_binary
from capsbench.errors import CapsbenchError
from data.writers import cifar_records

DRAW = np.random.default_rng(3)
IMAGES, LABELS = DRAW.integers(0, 256, (7, 3, 32, 32), dtype=np.uint8), np.arange(7, dtype=np.uint8)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_records_come_back(tmp_path, pack):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(pack(cifar_records(IMAGES, LABELS)))
    images, labels = read_cifar_binary(path)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("length", "found"),
    [(0, "0 bytes: 0 whole"), (3000, "0 whole records and 3,000"), (3074, "1 whole records and 1 ")],
)
def test_what_is_no_whole_number_of_records_is_refused(tmp_path, length, found):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(length))
    with pytest.raises(CapsbenchError, match=f"expected records of 3,073 bytes .*{found}"):
        read_cifar_binary(path)


def test_too_long_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("capsbench.data.formats.cifar_binary.MAX_BYTES", 2 * 3073)
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(cifar_records(IMAGES, LABELS))
    with pytest.raises(CapsbenchError, match="expected at most 6,146 bytes"):
        read_cifar_binary(path)
