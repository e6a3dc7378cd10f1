import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from capsbench.data import verification
from capsbench.data.published import PublishedFile
from capsbench.data.verification import identify, is_proved, is_published, remember, warn_if_not_published
from capsbench.environment import cache_folder
from capsbench.errors import CapsbenchError


@pytest.fixture
def proved(tmp_path):
    path = tmp_path / "asset"
    path.write_bytes(b"content")
    remember(identify(path), ["aa", "bb"])
    return path


def test_a_proof_is_remembered_for_this_file_and_these_checksums_only(proved):
    assert is_proved(identify(proved), ["aa", "bb"])
    assert not is_proved(identify(proved), ["aa", "cc"])
    other = proved.with_name("other")
    other.write_bytes(b"content")
    assert not is_proved(identify(other), ["aa", "bb"])


def test_a_proof_ends_when_size_or_time_changes(proved):
    before = proved.stat()
    os.utime(proved, ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert not is_proved(identify(proved), ["aa", "bb"])
    proved.write_bytes(b"longer content")
    os.utime(proved, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_proved(identify(proved), ["aa", "bb"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_broken_marker_proves_nothing_and_is_replaced(proved, content):
    (marker,) = (cache_folder() / "verified").iterdir()
    marker.write_bytes(content)
    assert not is_proved(identify(proved), ["aa", "bb"])
    remember(identify(proved), ["aa", "bb"])
    assert is_proved(identify(proved), ["aa", "bb"])


def test_an_unwritable_cache_is_no_error(proved, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "file" / "cache"))
    remember(identify(proved), ["aa"])
    assert not is_proved(identify(proved), ["aa"])


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("CAPSBENCH_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "capsbench"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / "home" / ".cache" / "capsbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home" / ".cache" / "capsbench"


def test_without_a_home_there_is_no_cache(proved, monkeypatch):
    monkeypatch.delenv("CAPSBENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
    remember(identify(proved), ["aa"])
    assert not is_proved(identify(proved), ["aa"])


RAW = bytes(range(256)) * 20
FILE = PublishedFile(
    "images", hashlib.md5(RAW).hexdigest(), len(RAW), hashlib.md5(gzip.compress(RAW, mtime=5)).hexdigest()
)


@pytest.mark.parametrize(
    ("name", "content", "file", "same"),
    [
        ("images", RAW, FILE, True),
        ("images", RAW[1:], FILE, False),
        ("images.gz", gzip.compress(RAW, mtime=5), FILE, True),
        ("images.gz", gzip.compress(RAW, mtime=9), FILE, True),
        ("images.gz", gzip.compress(RAW[1:]), FILE, False),
        ("images", RAW, replace(FILE, md5=None), None),
        ("images.gz", gzip.compress(RAW, mtime=5), replace(FILE, md5=None), True),
        ("images.gz", gzip.compress(RAW, mtime=9), replace(FILE, md5=None), False),
        ("images", RAW, replace(FILE, md5=None, packed_md5=None), None),
    ],
)
def test_a_file_is_published_packed_or_not_whoever_packed_it(tmp_path, name, content, file, same):
    (tmp_path / name).write_bytes(content)
    assert is_published(file, tmp_path / name) is same


def test_a_file_is_proved_once(tmp_path, monkeypatch, caplog):
    read = []
    real = verification.md5_of_file
    monkeypatch.setattr(verification, "md5_of_file", lambda path, **keys: read.append(path) or real(path, **keys))
    path = tmp_path / "images"
    path.write_bytes(RAW)
    for _ in range(3):
        warn_if_not_published("some", [(FILE, path)])
    assert len(read) == 1
    assert caplog.text == ""
    path.write_bytes(RAW + b"x")
    warn_if_not_published("some", [(FILE, path)])
    assert f"{tmp_path}: these are not the published files of some: images" in caplog.text


def test_a_damaged_compressed_file_is_named(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(RAW)[:-6])
    with pytest.raises(CapsbenchError, match="is damaged: expected an intact gzip file"):
        is_published(FILE, path)
    with pytest.raises(CapsbenchError, match="cannot read"):
        is_published(FILE, tmp_path / "gone")
