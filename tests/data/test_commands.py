import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from capsbench.data import commands, datasets
from capsbench.data.asset import pack
from capsbench.errors import CapsbenchError


@pytest.fixture
def small_mnist(small, monkeypatch):
    """The commands with the small data set in MNIST's place."""
    monkeypatch.setattr(datasets, "MNIST", small.published)
    monkeypatch.setitem(commands.PUBLISHED, "mnist", small.published)
    return small


def test_list_says_what_there_is_and_where():
    text = commands.list_datasets()
    assert text.startswith("mnist ")
    assert "60,000 training and 10,000 test images, 10 classes, 1 x 28 x 28" in text
    assert "mnist.idx.xz" in text


def test_list_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path / "gone"))
    assert "not found: CAPSBENCH_DATA=" in commands.list_datasets()


def test_verify_the_real_asset():
    text = commands.verify("mnist")
    assert text.count("as published") == 4
    assert "\nall files are the published ones\n" in text
    assert text.splitlines()[-1].split() == ["all", "60,000", "10,000"]


def test_verify_reads_the_asset_again_whatever_was_proved(small_mnist, small_asset):
    assert "\nall files are the published ones\n" in commands.verify("mnist")
    contents = list(small_mnist.contents.values())
    small_asset.write_bytes(pack([*contents[:3], bytes(len(contents[3]))]))
    with pytest.raises(CapsbenchError, match="damaged: expected t10k-labels-idx1-ubyte with md5"):
        commands.verify("mnist")


def test_verify_own_files(small_mnist, tmp_path, idx_bytes):
    small_mnist.write(tmp_path)
    assert "\nall files are the published ones\n" in commands.verify("mnist", str(tmp_path))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(40, np.uint8)))
    text = commands.verify("mnist", str(tmp_path))
    assert text.count("as published") == 3
    assert "train-labels-idx1-ubyte: differs from the published" in text
    assert "\nreadable, but not the published files\n" in text
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(40, 10, np.uint8)))
    with pytest.raises(CapsbenchError, match="labels from 0 to 9, found 10"):
        commands.verify("mnist", str(tmp_path))


def test_show_writes_the_picture(small, tmp_path):
    root = small.write(tmp_path / "data")
    path = commands.show("mnist", str(root), tmp_path / "sheet.png")
    assert path == tmp_path / "sheet.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"


def test_show_names_the_file_itself(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands.show("mnist", str(small.write(tmp_path / "data")))
    assert (tmp_path / "mnist.png").is_file()


def test_show_into_an_impossible_place(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CapsbenchError, match=r"cannot write .*file/sheet\.png"):
        commands.show("mnist", str(small.write(tmp_path / "data")), tmp_path / "file" / "sheet.png")


def test_unknown_data_set():
    for command in (commands.verify, commands.show):
        with pytest.raises(CapsbenchError, match="unknown data set minst: expected one of mnist"):
            command("minst")


def test_listing_does_not_import_torch():
    code = "import sys; from capsbench.data import commands as c; c.list_datasets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
