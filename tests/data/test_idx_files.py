import gzip
import logging
import os

import numpy as np
import pytest

from capsbench.data import idx_files, sources
from capsbench.data.asset import pack
from capsbench.data.formats.idx import parse_idx
from capsbench.data.idx_files import read_arrays
from capsbench.data.published import MNIST
from capsbench.data.sources import ASSETS, Source, locate
from capsbench.environment import cache_folder
from capsbench.errors import CapsbenchError


@pytest.fixture
def count_md5(monkeypatch):
    """A list that grows by one with each checksum computed."""
    calls = []
    real = idx_files.md5
    monkeypatch.setattr(idx_files, "md5", lambda content: calls.append(1) or real(content))
    return calls


def test_bundled_and_own_files_give_the_same_arrays(small, small_asset, tmp_path):
    bundled = read_arrays(small.published, locate(small.published, None))
    own = read_arrays(small.published, locate(small.published, str(small.write(tmp_path / "own"))))
    assert len(bundled) == len(own) == 4
    for ours, theirs, content in zip(bundled.values(), own.values(), small.contents.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours, parse_idx(content, "file"))


def test_the_asset_is_proved_once(small, small_asset, count_md5):
    source = locate(small.published, None)
    read_arrays(small.published, source)
    assert len(count_md5) == 4
    read_arrays(small.published, source)
    assert len(count_md5) == 4
    os.utime(small_asset, ns=(1, 1))
    read_arrays(small.published, source)
    assert len(count_md5) == 8


def test_without_a_cache_it_is_proved_every_time(small, small_asset, count_md5, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "file"))
    for proofs in (4, 8):
        read_arrays(small.published, locate(small.published, None))
        assert len(count_md5) == proofs


def test_an_intact_stream_with_other_content_is_refused_and_not_remembered(small, small_asset):
    contents = [bytearray(content) for content in small.contents.values()]
    contents[2][-1] ^= 1
    small_asset.write_bytes(pack([bytes(content) for content in contents]))
    expected = small.published.files[2]
    for _ in range(2):
        with pytest.raises(CapsbenchError) as error:
            read_arrays(small.published, locate(small.published, None))
        message = str(error.value)
        assert str(small_asset) in message
        assert f"expected t10k-images-idx3-ubyte with md5 {expected.md5}, found " in message
    assert not (cache_folder() / "verified").exists()


def test_damage_after_the_proof_is_found_although_time_and_size_are_the_same(small, small_asset):
    read_arrays(small.published, locate(small.published, None))
    before = small_asset.stat()
    content = bytearray(small_asset.read_bytes())
    content[len(content) // 2] ^= 1
    small_asset.write_bytes(content)
    os.utime(small_asset, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CapsbenchError, match="damaged: expected"):
        read_arrays(small.published, locate(small.published, None))


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damaged_copy_of_the_real_asset_is_refused(tmp_path, monkeypatch, damage):
    content = bytearray((ASSETS / "mnist.idx.xz").read_bytes())
    if damage == "flip":
        content[100_000] ^= 1
    else:
        del content[100_000:]
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    path = tmp_path / "mnist.idx.xz"
    path.write_bytes(content)
    with pytest.raises(CapsbenchError) as error:
        read_arrays(MNIST, locate(MNIST, None))
    assert f"the bundled data {path} are damaged: expected " in str(error.value)
    assert "54,950,048 bytes, found " in str(error.value)


def test_own_files_equal_to_the_published_are_taken_silently(small, tmp_path, caplog):
    for name, content in small.contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    with caplog.at_level(logging.DEBUG, "capsbench"):
        read_arrays(small.published, locate(small.published, str(tmp_path)))
    assert caplog.records == []


def test_own_files_that_differ_are_taken_with_one_line_in_the_log(small, tmp_path, caplog, idx_bytes):
    small.write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(40, np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.ones(20, np.uint8)))
    arrays = read_arrays(small.published, locate(small.published, str(tmp_path)))
    assert arrays[str(tmp_path / "train-labels-idx1-ubyte")].sum() == 0
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "not the published files of mnist: train-labels-idx1-ubyte, t10k-labels-idx1-ubyte" in line
    assert str(tmp_path) in line


def test_error_in_an_own_file_names_it(small, tmp_path):
    small.write(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CapsbenchError, match=f"{path} has the wrong length"):
        read_arrays(small.published, Source(files=tuple(tmp_path / name for name in small.contents)))
