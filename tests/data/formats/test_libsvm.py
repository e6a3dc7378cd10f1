import bz2

import numpy as np
import pytest

from capsbench.data.formats.libsvm import read_libsvm
from capsbench.errors import CapsbenchError
from data.writers import libsvm_lines

VALUES = np.array([[0.5, 0, -1, 0.25], [0, 0, 0, 0], [1, 2, 3, 4]], dtype=np.float32)
LABELS = np.array([3, 10, 1])


@pytest.mark.parametrize("pack", [bytes, bz2.compress])
@pytest.mark.parametrize("end", [b"", b"\n\n", b"\r\n"])
def test_lines_come_back_and_missing_indices_are_zero(tmp_path, pack, end):
    path = tmp_path / "usps"
    path.write_bytes(pack(libsvm_lines(VALUES, LABELS) + end))
    values, labels = read_libsvm(path, 4)
    np.testing.assert_array_equal(values, VALUES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found none"),
        (b"\n\n", "found none"),
        (b"1 1:0.5\nx 1:1\n", "line 2: expected 'label index:value"),
        (b"1.5 1:0.5\n", "line 1: expected 'label index:value"),
        (b"1 1:0.5 2\n", "line 1: expected 'label index:value"),
        (b"1 1 2\n", "line 1: expected 'label index:value"),
        (b"1 1:a\n", "line 1: expected 'label index:value"),
        (b"1 5:1\n", "line 1: expected rising indices from 1 to 4"),
        (b"1 0:1\n", "line 1: expected rising indices from 1 to 4"),
        (b"1 2:1 1:1\n", "line 1: expected rising indices from 1 to 4"),
        (b"1 2:1 2:1\n", "line 1: expected rising indices from 1 to 4"),
        (b"1 1:nan\n", "line 1: expected finite values"),
        (b"1 1:1e99\n", "line 1: expected finite values"),
        (b"99999999999999999999 1:1\n", "line 1: expected 'label"),
        (b"\xff\xfe1 1:1\n", "line 1: expected 'label"),
    ],
)
def test_other_lines_are_refused_by_number(tmp_path, content, message):
    path = tmp_path / "usps"
    path.write_bytes(content)
    with pytest.raises(CapsbenchError, match=message):
        read_libsvm(path, 4)
