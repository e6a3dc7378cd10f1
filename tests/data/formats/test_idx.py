import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from capsbench.data.formats.idx import parse_idx, read_bytes, read_idx
from capsbench.errors import CapsbenchError

ARRAYS = st.sampled_from(["u1", "i1", ">i2", ">i4", ">f4", ">f8"]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6))
)
# As the format's author prints them: a label file's and an image file's first bytes.
LABELS = bytes.fromhex("00000801 00000003") + bytes([5, 0, 4])
IMAGES = bytes.fromhex("00000803 00000002 00000001 00000003") + bytes([1, 2, 3, 4, 5, 6])


def test_reads_the_layout_of_the_format_description():
    assert parse_idx(LABELS, "labels").tolist() == [5, 0, 4]
    assert parse_idx(IMAGES, "images").tolist() == [[[1, 2, 3]], [[4, 5, 6]]]


def test_values_are_big_endian():
    content = bytes.fromhex("00000b01 00000002 0102 ff00")
    assert parse_idx(content, "shorts").tolist() == [0x0102, -256]


@given(array=ARRAYS)
@settings(max_examples=60, deadline=None)
def test_round_trip(array, idx_bytes):
    read = parse_idx(idx_bytes(array), "array")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_told_by_content_not_by_name(tmp_path, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(IMAGES))
    assert read_idx(path).tolist() == [[[1, 2, 3]], [[4, 5, 6]]]
    assert read_bytes(path) == IMAGES


@given(content=st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\0\0\x08\x02" + tail))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_an_array_of_all_bytes_or_an_error_naming_the_file(content):
    try:
        array = parse_idx(content, "some-file")
    except CapsbenchError as error:
        assert "some-file" in str(error)  # noqa: PT017
    else:
        assert 4 + 4 * array.ndim + array.nbytes == len(content)


@given(data=st.data(), array=ARRAYS)
@settings(max_examples=60, deadline=None)
def test_every_cut_and_every_tail_is_refused(data, array, idx_bytes):
    content = idx_bytes(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    tail = data.draw(st.binary(min_size=1, max_size=8))
    for broken in (content[:cut], content + tail):
        with pytest.raises(CapsbenchError, match="some-file"):
            parse_idx(broken, "some-file")


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_damaged_gzip_file_is_refused_or_unchanged(data, tmp_path_factory):
    packed = bytearray(gzip.compress(IMAGES, mtime=0))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("gzip") / "images.gz"
    path.write_bytes(packed)
    try:
        content = read_bytes(path)
    except CapsbenchError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        # Only gzip's own header (date, system, flags) can change without a trace.
        assert content == IMAGES


def test_cut_gzip_file_is_refused(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(IMAGES)[:-6])
    with pytest.raises(CapsbenchError, match="damaged: expected an intact gzip file"):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header of at least 4 bytes, found 0"),
        (b"\x89PNG\r\n\x1a\n", "no IDX file.*found 89 50 4e"),
        (b"\0\0\x0a\x01\0\0\0\x01\0", "no IDX file.*found 00 00 0a"),
        (b"\0\0\x08\x00", "1 to 4 dimensions, found 0"),
        (b"\0\0\x08\xff" + b"\0\0\0\x01" * 255, "1 to 4 dimensions, found 255"),
        (b"\0\0\x08\x03\0\0\0\x01", "cut short: expected a header of 16 bytes, found 8"),
        (b"\0\0\x08\x02\0\0\0\x00\xff\xff\xff\xff", "found dimensions 0 x 4,294,967,295"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "found dimensions 4,294,967,295 x 4,294,967,295 x"),
        # 65536 x 65536 x 4 wraps to 0 in 32 bits.
        (b"\0\0\x08\x03\0\x01\0\0\0\x01\0\0\0\0\0\x04", "found dimensions 65,536 x 65,536 x 4"),
        (IMAGES[:-1], "announces 2 x 1 x 3, so expected 22 bytes, found 21"),
        (IMAGES + b"\0", "announces 2 x 1 x 3, so expected 22 bytes, found"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_error_says_what_was_expected_and_found(tmp_path, content, message, pack):
    path = tmp_path / "file-idx"
    path.write_bytes(pack(content))
    with pytest.raises(CapsbenchError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_missing_file_and_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(CapsbenchError, match=f"cannot read {path}"):
            read_idx(path)


@pytest.mark.parametrize(
    "header", [b"\0\0\x08\x01\0\0\0\x10", b"\0\0\x08\x01\xff\xff\xff\xff"], ids=["announces 16", "announces 4 GiB"]
)
def test_neither_header_nor_gzip_bomb_takes_memory(tmp_path, header):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(header + bytes(30_000_000)))
    if header[-1] == 0xFF:
        path.write_bytes(gzip.compress(header + bytes(1000)))
    tracemalloc.start()
    with pytest.raises(CapsbenchError, match="wrong length"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
