import bz2
import gzip

import pytest

from capsbench.data.formats.packed import read_packed
from capsbench.errors import CapsbenchError

CONTENT = bytes(range(256)) * 50
PACK = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("kind", PACK)
def test_reads_what_was_packed_whatever_the_name_says(tmp_path, kind):
    path = tmp_path / "some.xyz"
    path.write_bytes(PACK[kind](CONTENT))
    assert read_packed(path, len(CONTENT)) == CONTENT
    with pytest.raises(CapsbenchError, match="expected at most 12,799 bytes, found more"):
        read_packed(path, len(CONTENT) - 1)


@pytest.mark.parametrize("kind", ["gzip", "bzip2"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damage_is_named(tmp_path, kind, damage):
    path = tmp_path / "some"
    content = bytearray(PACK[kind](CONTENT))
    if damage == "cut":
        del content[-8:]
    else:
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CapsbenchError, match=f"{path} is damaged: expected an intact {kind} file, found: "):
        read_packed(path, len(CONTENT))


def test_a_bomb_takes_no_more_than_its_limit(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    with pytest.raises(CapsbenchError, match="expected at most 1,000 bytes, found more"):
        read_packed(path, 1000)


def test_missing_file(tmp_path):
    with pytest.raises(CapsbenchError, match=r"cannot read .*gone: No such file"):
        read_packed(tmp_path / "gone", 10)
