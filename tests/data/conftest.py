"""A small data set in MNIST's format, and the real one loaded once."""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from capsbench.config import Data
from capsbench.data import sources
from capsbench.data.asset import pack
from capsbench.data.datasets import Dataset, load_dataset
from capsbench.data.published import MNIST, Published, PublishedFile

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    """An independent IDX writer, from the format's description."""
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + b"".join(struct.pack(">I", size) for size in array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(name="idx_bytes", scope="session")
def idx_bytes_fixture():
    return idx_bytes


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """No test sees the user's data or leaves proofs in the user's cache."""
    monkeypatch.delenv("CAPSBENCH_DATA", raising=False)
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "fetched"))


@dataclass(frozen=True)
class Small:
    """40 training and 20 test images of 28 x 28: what was published, and its four files' bytes by name."""

    published: Published
    contents: dict[str, bytes]

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def small() -> Small:
    words = np.random.default_rng(7)
    arrays = []
    for count in (40, 20):
        arrays += [words.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)]
    contents = {file.name: idx_bytes(array) for file, array in zip(MNIST.files, arrays, strict=True)}
    files = tuple(PublishedFile(name, hashlib.md5(data).hexdigest(), len(data)) for name, data in contents.items())
    published = Published(
        name="mnist",
        title="Small",
        classes=MNIST.classes,
        image_shape=(1, 28, 28),
        train_images=40,
        test_images=20,
        files=files,
        folders=MNIST.folders,
        asset="small.idx.xz",
    )
    return Small(published, contents)


@pytest.fixture
def small_asset(small, tmp_path, monkeypatch) -> Path:
    """The small data set in the place of the bundled one."""
    assets = tmp_path / "assets"
    assets.mkdir()
    monkeypatch.setattr(sources, "ASSETS", assets)
    path = assets / small.published.asset
    path.write_bytes(pack(list(small.contents.values())))
    return path


@pytest.fixture(scope="session")
def mnist(tmp_path_factory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CAPSBENCH_DATA", raising=False)
        patch.setenv("CAPSBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_dataset(Data())
