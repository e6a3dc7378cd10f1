import gzip
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from capsbench.data.formats.matlab import read_matlab
from capsbench.errors import CapsbenchError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_variables_and_structures_come_back(tmp_path, compressed, pack):
    path = tmp_path / "some.mat"
    savemat(path, {"X": ARRAY, "s": {"a": ARRAY[0], "b": "text"}, "other": 1}, do_compression=compressed)
    path.write_bytes(pack(path.read_bytes()))
    found = read_matlab(path, ("X", "s"), ("a", "b", "c"))
    assert set(found) == {"X", "s"}
    np.testing.assert_array_equal(found["X"], ARRAY)
    assert found["X"].dtype == ARRAY.dtype
    assert set(found["s"]) == {"a"}
    np.testing.assert_array_equal(found["s"]["a"], ARRAY[0])


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (2, 5), (2, 3, 4, 2)])
def test_all_kinds_of_numbers_come_back(tmp_path, kind, shape):
    array = np.random.default_rng(3).integers(0, 100, shape).astype(kind)
    for compressed in (False, True):
        savemat(tmp_path / "some.mat", {"x": array}, do_compression=compressed)
        found = read_matlab(tmp_path / "some.mat", ("x",))["x"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


@pytest.mark.parametrize("version", ["7.4_GLNX86", "6.1_SOL2", "6.5.1_GLNX86"])
def test_files_that_matlab_itself_wrote(version):
    """SciPy ships files of several MATLABs, of both byte orders: multiples of pi / 4."""
    path = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data" / f"testdouble_{version}.mat"
    if not path.is_file():
        pytest.skip("this SciPy comes without its test files")
    np.testing.assert_array_equal(read_matlab(path, ("testdouble",))["testdouble"], loadmat(path)["testdouble"])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"x": np.array([1 + 2j])}, "x: expected an array of real numbers"),
        ({"x": "text"}, "x: expected an array of real numbers, found class 4"),
        ({"x": np.array([1, "a"], dtype=object)}, "x: expected an array of real numbers, found class 1"),
        ({"x": np.zeros(3, dtype=[("a", "f8")])}, "x: expected a single structure"),
    ],
)
def test_other_kinds_of_variables_are_refused(tmp_path, variables, message):
    savemat(tmp_path / "some.mat", variables)
    with pytest.raises(CapsbenchError, match=message):
        read_matlab(tmp_path / "some.mat", ("x",))


def test_a_bomb_is_stopped_at_the_limit(tmp_path, monkeypatch):
    savemat(tmp_path / "some.mat", {"x": np.zeros((1000, 1000))}, do_compression=True)
    monkeypatch.setattr("capsbench.data.formats.matlab.MAX_BYTES", 100_000)
    with pytest.raises(CapsbenchError, match="unpacks to more than 100,000 bytes"):
        read_matlab(tmp_path / "some.mat", ("x",))


def test_variables_nobody_asked_for_are_left_alone(tmp_path):
    nested = {"deep": {"deeper": np.array([{"a": 1}, "b"], dtype=object)}}
    savemat(tmp_path / "some.mat", {"x": ARRAY[0], "other": nested, "text": "t"})
    np.testing.assert_array_equal(read_matlab(tmp_path / "some.mat", ("x",))["x"], ARRAY[0])


def test_a_missing_variable_is_named(tmp_path):
    savemat(tmp_path / "some.mat", {"X": ARRAY})
    with pytest.raises(CapsbenchError, match="expected the variables X, y, found no y"):
        read_matlab(tmp_path / "some.mat", ("X", "y"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no intact MATLAB file"),
        (b"MATLAB 5.0 MAT-file", "no intact MATLAB file"),
        (bytes(200), "no intact MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", r"MATLAB 7\.3 \(HDF5\) file: expected version 5"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "some.mat"
    path.write_bytes(content)
    with pytest.raises(CapsbenchError, match=message):
        read_matlab(path, ("X",))


def test_missing_file(tmp_path):
    with pytest.raises(CapsbenchError, match=r"cannot read .*gone\.mat"):
        read_matlab(tmp_path / "gone.mat", ("X",))


@given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(["flip", "cut"]), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_give_a_variable_or_a_message(tmp_path, position, value, damage, compressed):
    path = tmp_path / "some.mat"
    savemat(path, {"X": ARRAY, "s": {"a": ARRAY[0]}}, do_compression=compressed)
    content = path.read_bytes()
    place = position % len(content)
    path.write_bytes(content[:place] if damage == "cut" else content[:place] + bytes([value]) + content[place + 1 :])
    message = ""
    try:
        found = read_matlab(path, ("X", "s"), ("a",))
    except CapsbenchError as error:
        message = str(error)
    assert str(path) in message if message else set(found) == {"X", "s"}
