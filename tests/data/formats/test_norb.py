import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsbench.data.formats.norb import read_norb
from capsbench.errors import CapsbenchError
from data.writers import norb_matrix

DRAW = np.random.default_rng(5)


def write(tmp_path, content: bytes):
    path = tmp_path / "x-dat.mat"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5,), (5, 4), (2, 3, 4), (3, 2, 4, 4)])
def test_matrices_come_back(tmp_path, kind, shape):
    array = DRAW.integers(0, 100, shape).astype(kind)
    for content in (norb_matrix(array), gzip.compress(norb_matrix(array))):
        found = read_norb(write(tmp_path, content))
        np.testing.assert_array_equal(found, array)
        assert not found.flags.writeable


def test_the_published_header_byte_for_byte(tmp_path):
    """A vector of 4-byte integers has three dimensions stored, of which one counts."""
    head = bytes.fromhex("54 4c 3d 1e 01 00 00 00 02 00 00 00 01 00 00 00 01 00 00 00")
    assert read_norb(write(tmp_path, head + struct.pack("<ii", 3, 1))).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short: expected a header of at least 20 bytes, found 0"),
        (struct.pack("<II", 0x1E3D4C55, 3) + bytes(8), "cut short: expected 3 dimensions, found 2"),
        (struct.pack("<II", 0x1E3D4C55, 0), "1 to 8 dimensions, found 0"),
        (struct.pack("<Ii", 0x1E3D4C55, -1), "1 to 8 dimensions, found -1"),
        (struct.pack("<Ii", 0x1E3D4C55, 9), "1 to 8 dimensions, found 9"),
        (struct.pack("<Ii", 0x1E3D4C52, 3), "packed NORB matrices"),
        (b"MATLAB 5.0 MAT-file", "no NORB matrix: expected a magic number of 1E3D4C51, .*found 4C54414D"),
        (struct.pack("<IIIII", 0x1E3D4C55, 3, 0, 2, 2), "1 to 2,147,483,648 bytes, found 0 x 2 x 2"),
        (struct.pack("<IIIII", 0x1E3D4C51, 3, 2**31, 2**31, 2**31), "1 to 2,147,483,648 bytes"),
        (struct.pack("<IIIII", 0x1E3D4C55, 3, 2, 2, 2) + bytes(7), "expected 8 bytes of values, found 7"),
        (struct.pack("<IIIII", 0x1E3D4C55, 3, 2, 2, 2) + bytes(9), "expected 8 bytes of values, found more"),
        (struct.pack("<IIIII", 0x1E3D4C55, 3, 1024, 1024, 1024) + bytes(9), "found 9"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(CapsbenchError, match=message):
        read_norb(write(tmp_path, content))


@given(st.binary(max_size=60), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_matrix_or_a_message(tmp_path, content, begins_well):
    path = write(tmp_path, struct.pack("<I", 0x1E3D4C55) * begins_well + content)
    message = ""
    try:
        found = read_norb(path)
    except CapsbenchError as error:
        message = str(error)
    assert str(path) in message if message else found.size > 0
