"""Every reader of files is fed real files that were damaged at random: data of the promised shape, or our own error.

Seeded, a few seconds by default. `CAPSBENCH_FUZZ_SECONDS=600 pytest tests/test_fuzz.py` goes on for ten minutes with
other damage each time (`CAPSBENCH_FUZZ_SEED` repeats one).
"""

import bz2
import gzip
import io
import os
import pickle
import resource
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from capsbench.data.archives import extract
from capsbench.data.asset import pack, unpack
from capsbench.data.formats.cifar_binary import read_cifar_binary
from capsbench.data.formats.cifar_pickle import read_cifar_pickle
from capsbench.data.formats.idx import read_idx
from capsbench.data.formats.libsvm import read_libsvm
from capsbench.data.formats.matlab import read_matlab
from capsbench.data.formats.norb import read_norb
from capsbench.data.formats.packed import read_packed
from capsbench.data.formats.pictures import DamagedPicture, read_picture
from capsbench.errors import CapsbenchError
from capsbench.report.arrays import read_arrays
from data.writers import cifar_python2, cifar_records, libsvm_lines, norb_matrix

SECONDS = float(os.environ.get("CAPSBENCH_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("CAPSBENCH_FUZZ_SEED", "0" if SECONDS <= 5 else str(int(time.time()))))
# Memory that one read may add to the largest so far, and seconds that it may take (beside other work).
MOST_BYTES, MOST_SECONDS = 300 << 20, 20.0
DRAW = np.random.default_rng(7)
IMAGES, LABELS = DRAW.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8), np.array([1, 2, 9], dtype=np.uint8)
WANTED = {"set/one.bin": "one.bin"}
# What a header is likely to be wrong in: counts that do not fit, negative ones, none.
EXTREMES = [struct.pack(form, number) for form in ("<I", ">I") for number in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)]
EXTREMES += [b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\x80", b"\xff"]


class Reader(NamedTuple):
    """A reader, intact files of its kind, and whether an answer is what it promises."""

    read: Callable[[Path], Any]
    intact: list[bytes]
    promised: Callable[[Any], bool]


def mat(compressed: bool) -> bytes:
    stream = io.BytesIO()
    savemat(stream, {"X": IMAGES[0], "s": {"a": LABELS}, "other": "text"}, do_compression=compressed)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, test_label=LABELS, test_predicted=LABELS)
    return stream.getvalue()


def archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("set/one.bin", IMAGES.tobytes())
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode=kind) as packed:
        member = tarfile.TarInfo("set/one.bin")
        member.size = IMAGES.nbytes
        packed.addfile(member, io.BytesIO(IMAGES.tobytes()))
    return stream.getvalue()


def picture(form: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(IMAGES[0].transpose(1, 2, 0)).convert(mode).save(stream, form)
    return stream.getvalue()


def unpacked(path: Path) -> bytes:
    (folder,) = extract(path, WANTED, path.parent / "out", 1 << 20)
    return folder.read_bytes()


IDX = struct.pack(">HBBIII", 0, 8, 3, 3, 32, 32) + IMAGES[:, 0].tobytes()
ENTRY = {b"labels": LABELS.tolist(), b"data": IMAGES.reshape(3, -1)}
VALUES = DRAW.normal(size=(4, 16)).round(2)
READERS = {
    "idx": Reader(read_idx, [IDX, gzip.compress(IDX)], lambda got: got.size > 0),
    "cifar binary": Reader(
        read_cifar_binary, [cifar_records(IMAGES, LABELS)], lambda got: got[0].shape == (len(got[1]), 3, 32, 32)
    ),
    "cifar pickle": Reader(
        read_cifar_pickle,
        [cifar_python2(IMAGES, LABELS), *(pickle.dumps(ENTRY, protocol) for protocol in (2, 4))],
        lambda got: got[0].shape == (len(got[1]), 3, 32, 32) and got[0].dtype == np.uint8,
    ),
    "matlab": Reader(
        lambda path: read_matlab(path, ("X", "s"), ("a",)),
        [mat(compressed=False), mat(compressed=True)],
        lambda got: set(got) == {"X", "s"} and isinstance(got["s"], dict | np.ndarray),
    ),
    "norb": Reader(read_norb, [norb_matrix(IMAGES), gzip.compress(norb_matrix(IMAGES))], lambda got: got.size > 0),
    "libsvm": Reader(
        lambda path: read_libsvm(path, 16),
        [libsvm_lines(VALUES, LABELS.repeat(2)[:4])],
        lambda got: got[0].shape == (len(got[1]), 16) and bool(np.isfinite(got[0]).all()),
    ),
    "packed": Reader(
        lambda path: read_packed(path, 1 << 20),
        [gzip.compress(IDX), bz2.compress(IDX), IDX],
        lambda got: len(got) <= 1 << 20,
    ),
    "pictures": Reader(
        lambda path: read_picture(path, None),
        [picture("PNG"), picture("PNG", "P"), picture("PNG", "I;16"), picture("JPEG")],
        lambda got: got.ndim == 3 and got.shape[2] == 3 and got.dtype == np.uint8,
    ),
    "archives": Reader(
        unpacked, [archive("w"), archive("w:gz"), archive("w:bz2"), archive("zip")], lambda got: len(got) <= 1 << 20
    ),
    "asset": Reader(
        lambda path: unpack(path, [len(IDX)]), [pack([IDX])], lambda got: len(got) == 1 and len(got[0]) == len(IDX)
    ),
    "predictions": Reader(
        lambda path: read_arrays(path, ("test_label",), ("test_predicted",)),
        [npz()],
        lambda got: "test_label" in got and all(array.dtype.kind in "buif" for array in got.values()),
    ),
}


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """One to four changes: bytes flipped, numbers made extreme, pieces cut out, doubled, moved or added."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 5))):
        # Headers are short and come first: half of the damage is theirs.
        most = len(changed) if draw.random() < 0.5 else min(len(changed), 256)
        place = int(draw.integers(0, max(1, most)))
        length = int(draw.integers(1, 1 + min(64, max(1, len(changed) - place))))
        match int(draw.integers(0, 7)):
            case 0:
                changed[place : place + 1] = bytes([int(draw.integers(0, 256))])
            case 1 | 2:
                extreme = EXTREMES[int(draw.integers(0, len(EXTREMES)))]
                changed[place : place + len(extreme)] = extreme
            case 3:
                del changed[place:]
            case 4:
                del changed[place : place + length]
            case 5:
                changed[place:place] = changed[place : place + length]
            case _:
                changed[place:place] = draw.bytes(length)
    return bytes(changed)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", READERS)
def test_intact_files_are_read(tmp_path, name):
    """Otherwise the damage below would be damage of nothing."""
    for number, content in enumerate(READERS[name].intact):
        path = tmp_path / f"file{number}"
        path.write_bytes(content)
        assert READERS[name].promised(READERS[name].read(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_data_or_our_own_error(tmp_path, name):
    reader, draw = READERS[name], np.random.default_rng([SEED, list(READERS).index(name)])
    path = tmp_path / "file"
    refused = read = 0
    until = time.monotonic() + SECONDS / len(READERS)
    while time.monotonic() < until or read + refused < 30:
        content = damaged(reader.intact[int(draw.integers(0, len(reader.intact)))], draw)
        path.write_bytes(content)
        before, started = peak_bytes(), time.process_time()
        try:
            got = reader.read(path)
        except (CapsbenchError, DamagedPicture) as error:
            refused += bool(str(error))
        except BaseException as error:
            raise AssertionError(f"{name}, seed {SEED}: {error!r}; the file is {path}") from error
        else:
            read += 1
            assert reader.promised(got), f"{name}, seed {SEED}: {got!r}"
        assert peak_bytes() - before < MOST_BYTES, f"{name}, seed {SEED}: took {peak_bytes() - before:,} bytes"
        assert time.process_time() - started < MOST_SECONDS
    assert refused


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path):
    """Each says in a few bytes that more follows than any machine has, or more than there is."""
    huge = struct.pack(">HBBIIII", 0, 8, 4, 1024, 1024, 1024, 3)
    pickled = b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b"."
    text = b"\n" * 2_000_000
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40,)})
        packed.writestr("test_label.npy", header.getvalue())
    claims = {
        "idx": huge,
        "norb": struct.pack("<IIIII", 0x1E3D4C55, 3, 1024, 1024, 1024),
        "cifar pickle": pickled,
        "libsvm": text,
        "predictions": stream.getvalue(),
    }
    for name, content in claims.items():
        path = tmp_path / "file"
        path.write_bytes(content)
        before = peak_bytes()
        with pytest.raises(CapsbenchError):
            READERS[name].read(path)
        assert peak_bytes() - before < MOST_BYTES, name
