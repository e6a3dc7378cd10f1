import os
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsbench.data.formats.cifar_pickle import read_cifar_pickle
from capsbench.errors import CapsbenchError
from data.writers import cifar_python2, short_string

DRAW = np.random.default_rng(4)
IMAGES, LABELS = DRAW.integers(0, 256, (300, 3, 32, 32), dtype=np.uint8), (np.arange(300) % 10).astype(np.uint8)
FEW = cifar_python2(IMAGES[:3], LABELS[:3])


def entry(**changes) -> dict:
    return {b"labels": LABELS[:3].tolist(), b"data": IMAGES[:3].reshape(3, -1), **changes}


def write(tmp_path, content: bytes):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    return path


def test_the_published_form_is_read(tmp_path):
    content = cifar_python2(IMAGES, LABELS)
    # NumPy's own reading of the same bytes, which are ours and harmless: the writer is right.
    known = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(known[b"data"], IMAGES.reshape(300, -1))
    images, labels = read_cifar_pickle(write(tmp_path, content))
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("kind", [bytes, str])
def test_files_saved_again_by_python_3_are_read(tmp_path, protocol, kind):
    again = {(key if kind is bytes else key.decode()): value for key, value in entry().items()}
    images, labels = read_cifar_pickle(write(tmp_path, pickle.dumps(again, protocol=protocol)))
    np.testing.assert_array_equal(images, IMAGES[:3])
    np.testing.assert_array_equal(labels, LABELS[:3])


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["alone", "labels", "filenames"])
def test_no_code_is_run(tmp_path, protocol, place):
    trace = tmp_path / "trace"
    for evil in (Evil(os.system, f"touch {trace}"), Evil(eval, f"open({str(trace)!r}, 'w')")):
        content = evil if place == "alone" else entry(**{place: evil})
        path = write(tmp_path, pickle.dumps(content, protocol=protocol))
        with pytest.raises(CapsbenchError):
            read_cifar_pickle(path)
        assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [b"posix\nsystem", b"builtins\neval", b"__builtin__\neval", b"numpy\nload", b"numpy.core.multiarray\nscalar",
     b"numpy.testing._private.utils\nrunstring", b"_codecs\ndecode", b"capsbench.data.formats.cifar_pickle\n_load"],
)  # fmt: skip
def test_every_other_name_is_refused_before_it_is_looked_up(tmp_path, name):
    content = b"\x80\x02c" + name + b"\n" + short_string(b"x") + b"\x85R."
    wanted = name.decode().replace("\n", ".")
    with pytest.raises(CapsbenchError, match=f"a pickle that wants {wanted} is not CIFAR-10: nothing in it was run"):
        read_cifar_pickle(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02(cos\nsystem\nU\x01xo.", "found OBJ at byte"),
        (b"\x80\x02(U\x01xios\nsystem\n.", "found INST at byte"),
        (b"\x80\x02\x82\x01.", "found EXT1 at byte"),
        (b"\x80\x02U\x01xQ.", "found BINPERSID at byte"),
        (b"\x80\x02)" + b"\x85" * 1000 + b".", "found a far larger program"),
        (b"\x80\x04" + b"N0" * 10 + b"N.", "found POP at byte"),
        (b"", "is no intact pickle"),
        (b"\x89HDF", "is no intact pickle"),
        (b"\x80\x02N.", "expected a pickled dictionary, found NoneType"),
        (b"\x80\x02h\x05.", "is damaged: not an intact pickle"),
    ],
)
def test_programs_and_broken_files_are_refused(tmp_path, content, message):
    with pytest.raises(CapsbenchError, match=message):
        read_cifar_pickle(write(tmp_path, content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({b"labels": None}, "expected a list of labels"),
        ({b"labels": [1, 2, "x"]}, "expected a list of labels"),
        ({b"labels": [1, 2, 256]}, "expected a list of labels"),
        ({b"labels": []}, r"expected an array of 0 x 3,072"),
        ({b"labels": [1, 2]}, r"expected an array of 2 x 3,072"),
        ({b"data": b"x" * 9216}, r"expected an array of 3 x 3,072"),
        ({b"data": IMAGES[:3].reshape(3, -1)[:, :100]}, r"expected an array of 3 x 3,072"),
        ({b"data": np.asfortranarray(IMAGES[:3].reshape(3, -1))}, r"expected an array of 3 x 3,072"),
        ({b"data": IMAGES[:3].reshape(3, -1).astype(np.int32)}, "expected an array of unsigned bytes"),
    ],
)
def test_other_data_is_refused(tmp_path, changes, message):
    content = {**entry(), **changes}
    with pytest.raises(CapsbenchError, match=message):
        read_cifar_pickle(write(tmp_path, pickle.dumps(content, protocol=2)))


def test_too_few_pixels_are_refused(tmp_path):
    whole = IMAGES[:3].tobytes()
    place = FEW.index(whole)
    length = (len(whole) - 1).to_bytes(4, "little")
    content = FEW[: place - 4] + length + FEW[place : place + len(whole) - 1] + FEW[place + len(whole) :]
    with pytest.raises(CapsbenchError, match="expected 9,216 pixels under 'data', found 9,215"):
        read_cifar_pickle(write(tmp_path, content))


@given(st.integers(0, 2000), st.integers(0, 255), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_refused_or_harmless(tmp_path, position, value, cut):
    """Only the instructions are changed: the pixels between them may be anything."""
    pixels = FEW.index(IMAGES[:3].tobytes())
    places = [*range(pixels), *range(pixels + 9216, len(FEW))]
    place = places[position % len(places)]
    content = FEW[:place] if cut else FEW[:place] + bytes([value]) + FEW[place + 1 :]
    path = write(tmp_path, content)
    message = ""
    try:
        images, labels = read_cifar_pickle(path)
    except CapsbenchError as error:
        message = str(error)
    assert str(path) in message if message else images.shape == (len(labels), 3, 32, 32)


def test_the_writer_uses_only_instructions_of_the_published_files():
    names = {instruction.name for instruction, _, _ in pickletools.genops(FEW)}
    assert {"SHORT_BINSTRING", "BINSTRING", "GLOBAL", "REDUCE", "BUILD"} <= names
