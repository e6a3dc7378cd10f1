import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from capsbench.config import Data, DatasetName
from capsbench.data import commands, datasets
from capsbench.data.asset import pack
from capsbench.data.published import FASHION_MNIST, PublishedFile
from capsbench.errors import CapsbenchError


@pytest.fixture
def small_mnist(small, monkeypatch):
    """The commands with the small data set in MNIST's place."""
    monkeypatch.setattr(datasets, "MNIST", small.published)
    monkeypatch.setitem(commands.PUBLISHED, "mnist", small.published)
    return small


def test_list_says_what_there_is_and_where(tmp_path, monkeypatch):
    nowhere = replace(FASHION_MNIST, system_folders=(str(tmp_path / "gone"),))
    monkeypatch.setitem(commands.PUBLISHED, "fashion_mnist", nowhere)
    text = commands.list_datasets()
    assert text.startswith("mnist ")
    assert "60,000 training and 10,000 test images, 10 classes, 1 x 28 x 28" in text
    assert "mnist.idx.xz" in text
    assert "not here: Run `capsbench data fetch fashion_mnist`, or install the package dataset-fashion-mnist" in text
    assert "not here: Run `capsbench data fetch cifar10`. Or: put data_batch_1.bin" in text
    assert "any folder of PNG, JPEG and other images" in text


def test_list_says_where_a_system_package_put_the_files(small, tmp_path, monkeypatch):
    folder = small.write(tmp_path / "package")
    monkeypatch.setitem(commands.PUBLISHED, "fashion_mnist", replace(FASHION_MNIST, system_folders=(str(folder),)))
    assert f"10 classes, 1 x 28 x 28\n  {folder}\nkmnist" in commands.list_datasets()


def test_list_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path / "gone"))
    assert "not here: CAPSBENCH_DATA=" in commands.list_datasets()


def test_config_of_a_name_and_overrides(tmp_path):
    cfg = commands.data_config("cifar10_part", str(tmp_path), ["data.crop=20"])
    assert (cfg.name, cfg.root, cfg.partial, cfg.crop) == (DatasetName.cifar10, str(tmp_path), True, 20)
    with pytest.raises(CapsbenchError, match=r"data=minst is not known; did you mean data=mnist\?"):
        commands.data_config("minst")


def test_verify_the_real_asset():
    text = commands.verify(Data())
    assert text.count("as published") == 4
    assert "\nall files are the published ones\n" in text
    assert text.splitlines()[-1].split() == ["all", "60,000", "10,000"]


def test_verify_reads_the_asset_again_whatever_was_proved(small_mnist, small_asset):
    assert "\nall files are the published ones\n" in commands.verify(Data())
    contents = list(small_mnist.contents.values())
    small_asset.write_bytes(pack([*contents[:3], bytes(len(contents[3]))]))
    with pytest.raises(CapsbenchError, match="damaged: expected t10k-labels-idx1-ubyte with md5"):
        commands.verify(Data())


def test_verify_own_files(small_mnist, tmp_path, idx_bytes):
    small_mnist.write(tmp_path)
    own = Data(root=str(tmp_path))
    assert "\nall files are the published ones\n" in commands.verify(own)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(40, np.uint8)))
    text = commands.verify(own)
    assert text.count("as published") == 3
    assert "train-labels-idx1-ubyte: differs from the published" in text
    assert "\nreadable, but not the published files\n" in text
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(40, 10, np.uint8)))
    with pytest.raises(CapsbenchError, match="labels from 0 to 9, found 10"):
        commands.verify(own)


def test_verify_says_where_no_checksum_is_known(small, tmp_path, monkeypatch):
    files = (PublishedFile(small.published.files[0].name, None, None), *small.published.files[1:])
    published = replace(small.published, files=files)
    monkeypatch.setattr(datasets, "MNIST", published)
    monkeypatch.setitem(commands.PUBLISHED, "mnist", published)
    text = commands.verify(Data(root=str(small.write(tmp_path))))
    assert "train-images-idx3-ubyte: no published checksum is known for this form of the file" in text
    assert text.count("as published") == 3
    assert "\nreadable; no published checksum is known for some of them\n" in text


def test_show_writes_the_picture_and_says_what_is_on_it(small, tmp_path):
    root = small.write(tmp_path / "data")
    text = commands.show(Data(root=str(root)), tmp_path / "sheet.png")
    assert text.startswith("mnist: 10 classes, grey images of 28 x 28 pixels\n")
    assert text.endswith(f"contact sheet written to {tmp_path / 'sheet.png'}")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.format == "PNG"


def test_show_has_pairs_and_frames_where_they_are_asked_for(small, tmp_path):
    """Sheets are as many pixels wide as 24 pictures, and a pair of digits is brighter than one."""
    root, light, widths = str(small.write(tmp_path / "data")), [], []
    for name, cfg in (
        ("plain", Data(root=root)),
        ("framed", Data(root=root, pad=4)),
        ("paired", Data(root=root, pad=4, shift=4, overlap=True)),
    ):
        assert commands.show(cfg, tmp_path / name).startswith("mnist: 10 classes, grey images of 28 x 28 pixels\n")
        with Image.open(tmp_path / name) as picture:
            light.append(255 - np.array(picture.convert("L")).astype(float).mean())
            widths.append(picture.width)
    assert widths[1] - widths[0] == widths[2] - widths[0] == 24 * (2 * 36 - 2 * 28)
    assert light[1] > light[2] > 0


def test_show_into_an_impossible_place(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CapsbenchError, match=r"cannot write .*file/sheet\.png"):
        commands.show(Data(root=str(small.write(tmp_path / "data"))), tmp_path / "file" / "sheet.png")


def test_listing_does_not_import_torch():
    code = "import sys; from capsbench.data import commands as c; c.list_datasets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
