"""A bundled data set: one xz stream with the authors' files, unpacked, one after the other.

The stream ends in a CRC64 of its content, so damage is found whenever it is read. `scripts/build_mnist_asset.py`
makes MNIST's.
"""

import lzma
from collections.abc import Sequence
from pathlib import Path

from capsbench.errors import CapsbenchError

# Pixels are single bytes without alignment (lp = pb = 0) and the byte before says most about the next (lc = 4). The
# dictionary holds all of MNIST.
FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0, "dict_size": 1 << 26}
]
MEND = "Install capsbench again (or `git checkout` the file), or set data.root to a folder with your own IDX files."


def pack(contents: Sequence[bytes]) -> bytes:
    """The asset that holds `contents`; one liblzma version always gives the same bytes."""
    return lzma.compress(b"".join(contents), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=FILTERS)


def unpack(path: Path, sizes: Sequence[int]) -> list[memoryview]:
    """The files inside an asset.

    Args:
        path: the asset.
        sizes: length in bytes of each file inside it, in order.

    Returns:
        One view per file; together they are the whole content.

    Raises:
        CapsbenchError: the asset cannot be read, is damaged, or its content has another length.
    """
    expected = sum(sizes)
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise CapsbenchError(f"cannot read the bundled data {path}: {error.strerror}. {MEND}") from error
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        # One byte more than expected: too long a content is noticed without unpacking all of it.
        content = decoder.decompress(packed, max_length=expected + 1)
    except lzma.LZMAError as error:
        raise CapsbenchError(
            f"the bundled data {path} are damaged: expected an intact xz stream of {expected:,} bytes, "
            f"found {len(packed):,} packed bytes that do not unpack ({error}). {MEND}"
        ) from error
    if len(content) == expected and not decoder.eof:
        found = f"{expected:,} bytes without the end of the xz stream"
    elif len(content) > expected:
        found = f"more than {expected:,} bytes"
    elif len(content) < expected:
        found = f"{len(content):,} bytes"
    elif decoder.unused_data:
        found = f"{len(decoder.unused_data):,} more bytes behind the end of the xz stream"
    else:
        return _slices(memoryview(content), sizes)
    raise CapsbenchError(f"the bundled data {path} are damaged: expected {expected:,} bytes, found {found}. {MEND}")


def _slices(content: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    parts = []
    start = 0
    for size in sizes:
        parts.append(content[start : start + size])
        start += size
    return parts
