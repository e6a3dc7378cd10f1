"""Independent writers of the data sets' true formats, from their descriptions."""

import struct
from pathlib import Path

import numpy as np
from scipy.io import savemat

NORB_CODES = {"f4": 0x1E3D4C51, "f8": 0x1E3D4C53, "i4": 0x1E3D4C54, "u1": 0x1E3D4C55, "i2": 0x1E3D4C56}


def cifar_records(images: np.ndarray, labels: np.ndarray) -> bytes:
    """CIFAR-10's binary version."""
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def short_string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def cifar_python2(images: np.ndarray, labels: np.ndarray) -> bytes:
    """CIFAR-10's Python version, instruction by instruction as Python 2's pickler (protocol 2) wrote it."""
    count, pixels = len(labels), images.reshape(len(labels), -1).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01bq\x0a\x87q\x0bRq\x0c"
        b"(K\x01M" + struct.pack("<H", count) + b"M\x00\x0c\x86q\x0d"
        b"cnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11"
        b"(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89"
        b"T" + struct.pack("<i", len(pixels)) + pixels + b"q\x14tq\x15b"
    )
    return (
        b"\x80\x02}q\x01("
        + short_string(b"batch_label") + b"q\x02" + short_string(b"training batch 1 of 5") + b"q\x03"
        + short_string(b"labels") + b"q\x04]q\x05(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
        + short_string(b"data") + b"q\x06" + array
        + short_string(b"filenames") + b"q\x16]q\x17("
        + b"".join(short_string(b"image_%d.png" % number) for number in range(count)) + b"e"
        + b"u."
    )  # fmt: skip


def norb_matrix(array: np.ndarray) -> bytes:
    """A binary matrix of NORB: little-endian magic and dimensions, at least three of them."""
    sizes = [*array.shape, *[1] * (3 - array.ndim)]
    head = struct.pack("<II", NORB_CODES[array.dtype.str[1:]], array.ndim)
    return head + b"".join(struct.pack("<I", size) for size in sizes) + array.tobytes()


def libsvm_lines(values: np.ndarray, labels: np.ndarray) -> bytes:
    """LIBSVM's text form; zeros are left out."""
    lines = []
    for row, label in zip(values, labels, strict=True):
        words = [f"{index}:{value:g}" for index, value in enumerate(row, start=1) if value != 0]
        lines.append(" ".join([str(label), *words]) + " ")
    return ("\n".join(lines) + "\n").encode()


def write_svhn(path: Path, images: np.ndarray, labels: np.ndarray, *, compressed: bool = True) -> None:
    """SVHN: X (32, 32, 3, N), y (N, 1) with 10 for 0."""
    y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": y}, do_compression=compressed)


def write_affnist(path: Path, images: np.ndarray, labels: np.ndarray, factors: np.ndarray) -> None:
    """affNIST: a structure of columns."""
    columns = images.reshape(len(images), -1).T
    record = {"image": columns, "label_int": labels[None].astype(np.uint8), "human_readable_transform": factors.T}
    savemat(path, {"affNISTdata": record})
