import gzip
import logging
from dataclasses import replace

import pytest

from capsbench.data.published import CIFAR10, CIFAR10_PYTHON, MNIST
from capsbench.data.sources import ASSETS, Source, choose_form, fetch_folder, locate, usual_names
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


def test_a_system_package_is_found_and_the_users_own_folders_come_first(small, tmp_path, monkeypatch):
    package = small.write(tmp_path / "package")
    published = replace(small.published, asset=None, system_folders=(str(package),))
    assert locate(published, None).files[0].parent == package
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    assert locate(published, None).files[0].parent == package
    monkeypatch.setenv("CAPSBENCH_DATA", str(small.write(tmp_path / "own")))
    assert locate(published, None).files[0].parent == tmp_path / "own"


def test_fetched_files_are_found(small, tmp_path):
    folder = small.write(fetch_folder() / "mnist")
    assert fetch_folder() == tmp_path / "fetched" / "capsbench"
    published = replace(small.published, asset=None)
    assert locate(published, None).files[0].parent == folder
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(CapsbenchError, match=r"the folder of fetched data=.* lacks 1 of 4 files"):
        locate(published, None)


def test_where_fetched_files_go(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path / "own"))
    assert fetch_folder() == tmp_path / "own"
    monkeypatch.delenv("CAPSBENCH_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert fetch_folder() == tmp_path / "home" / ".local" / "share" / "capsbench"


def test_what_is_nowhere_says_where_was_looked_and_what_to_do(small, tmp_path):
    published = replace(
        small.published, name="fashion_mnist", asset=None, system_folders=("/nowhere",), package="some-package"
    )
    with pytest.raises(CapsbenchError) as error:
        locate(published, None)
    message = str(error.value)
    assert f"looked in /nowhere, {tmp_path / 'fetched' / 'capsbench' / 'fashion_mnist'}" in message
    assert "Run `capsbench data fetch fashion_mnist`, or install the package some-package" in message
    assert "put train-images-idx3-ubyte, " in message


def test_the_form_with_most_files_is_chosen(tmp_path):
    forms = (CIFAR10, CIFAR10_PYTHON)
    assert choose_form(forms, None) is CIFAR10
    assert choose_form(forms, str(tmp_path)) is CIFAR10
    (tmp_path / "data_batch_1").touch()
    (tmp_path / "test_batch").touch()
    assert choose_form(forms, str(tmp_path)) is CIFAR10_PYTHON
    for number in range(1, 4):
        (tmp_path / f"data_batch_{number}.bin").touch()
    assert choose_form(forms, str(tmp_path)) is CIFAR10
