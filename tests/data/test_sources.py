import gzip
import logging

import pytest

from capsbench.data.published import MNIST
from capsbench.data.sources import ASSETS, Source, locate, usual_names
from capsbench.errors import CapsbenchError


def test_the_bundled_copy_is_the_default():
    source = locate(MNIST, None)
    assert source == Source(asset=ASSETS / "mnist.idx.xz")
    assert source.asset.is_file()


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("way", ["root", "environment"])
def test_own_files_are_found_in_the_folder_or_below(small, tmp_path, monkeypatch, folder, way):
    small.write(tmp_path / "data" / folder)
    root = str(tmp_path / "data")
    if way == "environment":
        monkeypatch.setenv("CAPSBENCH_DATA", root)
    source = locate(small.published, root if way == "root" else None)
    assert [path.name for path in source.files] == [file.name for file in small.published.files]
    assert all(path.samefile(tmp_path / "data" / folder / path.name) for path in source.files)


@pytest.mark.parametrize("spelling", range(4))
def test_usual_names(small, tmp_path, spelling):
    for name in small.contents:
        (tmp_path / usual_names(name)[spelling]).write_bytes(b"")
    source = locate(small.published, str(tmp_path))
    expected = ["train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx3-ubyte.gz",
                "train-images.idx3-ubyte.gz"][spelling]  # fmt: skip
    assert source.files[0].name == expected


def test_unpacked_files_come_first(small, tmp_path):
    small.write(tmp_path)
    for name, content in small.contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    assert not any(path.suffix == ".gz" for path in locate(small.published, str(tmp_path)).files)


def test_data_root_wins_over_the_environment(small, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPSBENCH_DATA", str(small.write(tmp_path / "environment")))
    own = small.write(tmp_path / "own")
    assert locate(small.published, str(own)).files[0].parent.samefile(own)


def test_missing_files_are_listed_with_places_and_advice(small, tmp_path):
    small.write(tmp_path / "mnist")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").unlink()
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(CapsbenchError) as error:
        locate(small.published, str(tmp_path))
    message = str(error.value)
    assert f"data.root={tmp_path} lacks 2 of 4 files" in message
    assert "missing: train-labels-idx1-ubyte, t10k-images-idx3-ubyte\n" in message
    assert "it has train-images-idx3-ubyte, t10k-labels-idx1-ubyte" in message
    places = [tmp_path / "mnist", tmp_path / "MNIST" / "raw", tmp_path]
    assert f"looked in: {', '.join(map(str, places))}\n" in message
    assert "set data.root or CAPSBENCH_DATA" in message
    assert "leave data.root unset for the bundled copy" in message


def test_a_root_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CapsbenchError, match=r"data\.root=.*gone: expected a folder, found nothing there"):
        locate(MNIST, str(tmp_path / "gone"))
    with pytest.raises(CapsbenchError, match=r"data\.root=.*file: expected a folder, found a file"):
        locate(MNIST, str(tmp_path / "file"))


def test_environment_folder_without_this_data_set_leaves_the_bundled_copy(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path))
    with caplog.at_level(logging.INFO, "capsbench"):
        assert locate(MNIST, None).asset is not None
    assert "holds no file of mnist; taking the bundled copy" in caplog.text


def test_environment_folder_with_a_part_of_the_files_is_an_error(small, tmp_path, monkeypatch):
    small.write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path))
    with pytest.raises(CapsbenchError, match=r"CAPSBENCH_DATA=.* lacks 1 of 4"):
        locate(MNIST, None)


def test_environment_folder_that_does_not_exist_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path / "gone"))
    with pytest.raises(CapsbenchError, match=r"CAPSBENCH_DATA=.*gone: expected a folder"):
        locate(MNIST, None)


def test_a_missing_bundled_copy_is_named(small, small_asset):
    small_asset.unlink()
    with pytest.raises(CapsbenchError, match=f"bundled data {small_asset} are missing"):
        locate(small.published, None)
