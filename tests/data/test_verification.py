import os
from pathlib import Path

import pytest

from capsbench.data.verification import cache_folder, identify, is_proved, remember


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
