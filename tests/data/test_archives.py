import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsbench.data.archives import extract
from capsbench.errors import CapsbenchError

CONTENT = np.random.default_rng(1).bytes(5000)
WANTED = {"set/one.bin": "one.bin", "set/two.bin": "renamed.bin"}
HOSTILE = ("/etc/evil", "../../evil", "set/../../evil", "evil", "set/other.bin")


def tar(path: Path, files: dict[str, bytes], *, special: dict[str, bytes] | None = None, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, kind in (special or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


GOOD = {"set/one.bin": CONTENT, "set/two.bin": CONTENT[:100]}


@pytest.mark.parametrize("make", [tar, zipped])
def test_wanted_files_are_written_and_nothing_else(tmp_path, make):
    archive = make(tmp_path / "archive", {**dict.fromkeys(HOSTILE, b"evil"), **GOOD})
    before = {path for path in tmp_path.parent.rglob("*") if "evil" in path.name}
    written = extract(archive, WANTED, tmp_path / "in" / "out", 5000)
    assert [path.name for path in written] == ["one.bin", "renamed.bin"]
    assert [path.read_bytes() for path in written] == [CONTENT, CONTENT[:100]]
    assert sorted(path.name for path in (tmp_path / "in").rglob("*") if path.is_file()) == ["one.bin", "renamed.bin"]
    assert {path for path in tmp_path.parent.rglob("*") if "evil" in path.name} == before


def test_names_with_a_leading_dot_are_the_same(tmp_path):
    archive = tar(tmp_path / "archive", {f"./{name}": content for name, content in GOOD.items()}, mode="w")
    assert extract(archive, WANTED, tmp_path / "out", 5000)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_wanted_name_that_is_no_regular_file_is_refused(tmp_path, kind):
    archive = tar(tmp_path / "archive", GOOD, special={"set/one.bin": kind})
    with pytest.raises(CapsbenchError, match=r"set/one\.bin is a link, a device or a folder"):
        extract(archive, WANTED, tmp_path / "out", 5000)
    assert not list(tmp_path.glob("out/*"))


def test_a_link_in_a_zip_is_refused(tmp_path):
    archive = zipped(tmp_path / "archive", GOOD, {"set/one.bin": 0o120777})
    with pytest.raises(CapsbenchError, match=r"set/one\.bin is a link"):
        extract(archive, WANTED, tmp_path / "out", 5000)
    ordinary = zipped(tmp_path / "ordinary", GOOD, dict.fromkeys(GOOD, 0o100644))
    assert len(extract(ordinary, WANTED, tmp_path / "out", 5000)) == 2


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_bomb_is_stopped_at_the_limit(tmp_path, make):
    archive = make(tmp_path / "archive", {"set/one.bin": bytes(20 << 20), "set/two.bin": b""})
    with pytest.raises(CapsbenchError, match=r"set/one\.bin: expected at most 1,000 bytes, found more"):
        extract(archive, WANTED, tmp_path / "out", 1000)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("make", [tar, zipped])
def test_missing_files_are_named(tmp_path, make):
    with pytest.raises(CapsbenchError, match=r"archive lacks set/two\.bin"):
        extract(make(tmp_path / "archive", {"set/one.bin": b"x"}), WANTED, tmp_path / "out", 5000)


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b broken", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(CapsbenchError, match=r"archive (is damaged|lacks)"):
        extract(tmp_path / "archive", WANTED, tmp_path / "out", 5000)


@given(st.sampled_from([tar, zipped]), st.integers(0, 10_000), st.integers(0, 255), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_archives_write_whole_files_or_none(tmp_path, make, position, value, cut):
    archive = make(tmp_path / "archive", GOOD)
    content = archive.read_bytes()
    place = position % len(content)
    archive.write_bytes(content[:place] if cut else content[:place] + bytes([value]) + content[place + 1 :])
    message = ""
    try:
        written = extract(archive, WANTED, tmp_path / "out", 5000)
    except CapsbenchError as error:
        message = str(error)
    assert str(archive) in message if message else len(written) == 2
    assert {path.name for path in tmp_path.rglob("*")} <= {"archive", "out", "one.bin", "renamed.bin"}
