"""The four IDX files of a data set, wherever they are: read, and proved against what was published."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from capsbench.data.asset import MEND, unpack
from capsbench.data.formats.idx import parse_idx, read_bytes
from capsbench.data.published import Published
from capsbench.data.sources import Source
from capsbench.data.verification import identify, is_proved, md5, remember
from capsbench.errors import CapsbenchError

log = logging.getLogger(__name__)


def read_arrays(published: Published, source: Source) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The data set's arrays, read-only, in the order of `Published.files`; the keys say where each comes from.

    The bundled copy must be what was published; that is proved once for each state of the asset. The user's own files
    need not be; where they differ, one line in the log says so.

    Raises:
        CapsbenchError: a file cannot be read, is damaged or is no IDX file, or the bundled copy is not what was
            published.
    """
    if source.asset is None:
        contents: Sequence[bytearray | memoryview] = read_files(source)
        differing = [path.name for path, same in zip(source.files, match(published, contents), strict=True) if not same]
        if differing:
            log.warning("%s: these are not the published files of %s: %s", source, published.name, ", ".join(differing))
    else:
        identity = identify(source.asset)
        contents = unpack(source.asset, [file.size for file in published.files])
        checksums = [file.md5 for file in published.files]
        if not is_proved(identity, checksums):
            require_published(published, source, contents)
            remember(identity, checksums)
    names = file_names(published, source)
    return {name: parse_idx(content, name) for name, content in zip(names, contents, strict=True)}


def read_files(source: Source) -> list[bytearray]:
    """The unpacked bytes of the user's own files."""
    return [read_bytes(path) for path in source.files]


def file_names(published: Published, source: Source) -> list[str]:
    """What errors call each of the four files."""
    if source.asset is None:
        return [str(path) for path in source.files]
    return [f"{source.asset}: {file.name}" for file in published.files]


def match(published: Published, contents: Sequence[bytearray | memoryview]) -> list[bool]:
    """For each file, whether its bytes are the published ones."""
    return [md5(content) == file.md5 for file, content in zip(published.files, contents, strict=True)]


def require_published(published: Published, source: Source, contents: Sequence[bytearray | memoryview]) -> None:
    """Refuse contents of the bundled copy that are not what was published."""
    for file, content in zip(published.files, contents, strict=True):
        found = md5(content)
        if found != file.md5:
            raise CapsbenchError(
                f"the bundled data {source.asset} are damaged: expected {file.name} with md5 {file.md5}, "
                f"found {found}. {MEND}"
            )
