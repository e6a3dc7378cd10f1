import lzma

import pytest

from capsbench.data.asset import pack, unpack
from capsbench.errors import CapsbenchError

CONTENTS = [b"first file", b"second", bytes(range(256)) * 20]
SIZES = [len(content) for content in CONTENTS]


@pytest.fixture
def asset(tmp_path):
    path = tmp_path / "some.idx.xz"
    path.write_bytes(pack(CONTENTS))
    return path


def test_unpacks_to_what_was_packed_and_packs_the_same_again(asset):
    assert [bytes(part) for part in unpack(asset, SIZES)] == CONTENTS
    assert pack(CONTENTS) == asset.read_bytes()


def test_is_an_ordinary_xz_file(asset):
    assert lzma.decompress(asset.read_bytes(), format=lzma.FORMAT_XZ) == b"".join(CONTENTS)


def test_every_flipped_bit_and_every_cut_is_found(asset):
    good = asset.read_bytes()
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 0x10
        for content in (bytes(damaged), good[:position]):
            asset.write_bytes(content)
            with pytest.raises(CapsbenchError, match="damaged: expected") as error:
                unpack(asset, SIZES)
            assert str(asset) in str(error.value)


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        ([*CONTENTS, b"x"], "found more than 5,136 bytes"),
        (CONTENTS[:2], "found 16 bytes"),
    ],
)
def test_another_length_is_refused(asset, contents, found):
    asset.write_bytes(pack(contents))
    with pytest.raises(CapsbenchError, match=f"expected 5,136 bytes, {found}"):
        unpack(asset, SIZES)


def test_bytes_behind_the_stream_are_refused(asset):
    asset.write_bytes(asset.read_bytes() + b"tail")
    with pytest.raises(CapsbenchError, match="found 4 more bytes behind the end"):
        unpack(asset, SIZES)


def test_missing_asset(tmp_path):
    with pytest.raises(CapsbenchError, match=r"cannot read the bundled data .*gone\.xz"):
        unpack(tmp_path / "gone.xz", SIZES)
