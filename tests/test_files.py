import stat

import pytest

from capsbench.files import replacing, write_atomic


def test_writes_bytes_and_text_and_makes_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomic(path, "zwölf\r\n")
    assert path.read_bytes() == "zwölf\r\n".encode()
    write_atomic(path, b"\0\xff")
    assert path.read_bytes() == b"\0\xff"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


def test_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "result.json"
    write_atomic(path, "old")

    def half_written():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        half_written()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_not_there_before_the_block_ends(tmp_path):
    path = tmp_path / "last.ckpt"
    with replacing(path) as temporary:
        temporary.write_text("weights")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
    assert path.read_text() == "weights"


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "empty"
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_two_writers_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "shared"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    write_atomic(tmp_path / "atomic", "")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
