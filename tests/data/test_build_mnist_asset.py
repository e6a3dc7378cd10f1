import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import pytest

from capsbench.data.asset import unpack
from capsbench.errors import CapsbenchError

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_mnist_asset.py"


@pytest.fixture
def script(small, monkeypatch):
    """The build script, with the small data set's checksums for MNIST's."""
    spec = importlib.util.spec_from_file_location("build_mnist_asset", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "MNIST", small.published)
    return module


def package(path: Path, contents: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def run(script, monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["build_mnist_asset.py", *map(str, arguments)])
    return script.main()


def test_builds_the_same_asset_from_a_folder_every_time(script, small, tmp_path, monkeypatch, capsys):
    folder = small.write(tmp_path / "idx")
    outs = [tmp_path / "one.xz", tmp_path / "two.xz"]
    for out in outs:
        assert run(script, monkeypatch, "--folder", folder, "--out", out) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    parts = unpack(outs[0], [file.size for file in small.published.files])
    assert [bytes(part) for part in parts] == list(small.contents.values())
    assert f"wrote {outs[0]}" in capsys.readouterr().out


def test_takes_the_four_files_out_of_the_package_and_unpacks_nothing(script, small, tmp_path):
    members = {f"package/data/{name}": content for name, content in small.contents.items()}
    archive = package(tmp_path / "p.tgz", {"../../evil": b"x", "/etc/evil": b"x", **members, "package/index.js": b"x"})
    before = sorted(tmp_path.rglob("*"))
    assert script.read_package(archive) == list(small.contents.values())
    assert sorted(tmp_path.rglob("*")) == before


def test_refuses_packages_without_the_true_files(script, small, tmp_path):
    members = {f"package/data/{name}": content for name, content in small.contents.items()}
    first = "package/data/train-images-idx3-ubyte"
    rest = {name: content for name, content in members.items() if name != first}
    with pytest.raises(CapsbenchError, match=f"has no {first}"):
        script.read_package(package(tmp_path / "a.tgz", rest))
    with pytest.raises(CapsbenchError, match=f"{first} is not a regular file"):
        script.read_package(package(tmp_path / "b.tgz", rest, {first: "/etc/passwd"}))
    with pytest.raises(CapsbenchError, match=f"{first} is not a regular file of"):
        script.read_package(package(tmp_path / "c.tgz", {**members, first: b"short"}))
    with pytest.raises(CapsbenchError, match=r"expected md5 .* found"):
        script.read_package(package(tmp_path / "d.tgz", {**members, first: bytes(len(members[first]))}))


def test_a_wrong_folder_writes_nothing(script, small, tmp_path, monkeypatch, capsys):
    folder = small.write(tmp_path / "idx")
    out = tmp_path / "out" / "mnist.idx.xz"
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"wrong")
    assert run(script, monkeypatch, "--folder", folder, "--out", out) == 2
    assert "t10k-labels-idx1-ubyte: expected md5" in capsys.readouterr().err
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert run(script, monkeypatch, "--folder", folder, "--out", out) == 2
    assert "lacks t10k-labels-idx1-ubyte" in capsys.readouterr().err
    assert not out.parent.exists()
