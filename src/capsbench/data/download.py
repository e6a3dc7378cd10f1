"""Fetching a data set's files: resumable, proved by checksum, and there whole or not at all.

A file grows as `.NAME.part` beside its place; after a drop, an interruption or a crash the next attempt asks the server
for the rest. It gets its name only when its checksum is right.
"""

import errno
import fcntl
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Any

from capsbench.data.archives import extract
from capsbench.data.mirrors import MIRRORS, Download
from capsbench.data.published import PUBLISHED
from capsbench.data.sources import fetch_folder
from capsbench.data.verification import md5_of_file
from capsbench.errors import CapsbenchError

BLOCK = 1 << 16
TIMEOUT_SECONDS = 30
# Attempts in a row that bring nothing; one that brings a single byte starts the count again.
ATTEMPTS = 4
MAX_BYTES = 4 << 30
SPARE_BYTES = 64 << 20
# Answers of the 400s that ask for patience: request timeout, too many requests.
COME_BACK = (408, 429)
DROPS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, OSError)


def fetch_dataset(name: str, root: str | None = None, *, progress: bool = True) -> tuple[Path, list[str]]:
    """Fetch all files of a data set that are not there yet.

    Args:
        name: of the data set.
        root: folder to put the files in; None for a folder of the data set's name below `fetch_folder()`.
        progress: show a bar on standard error.

    Returns:
        The folder, and a line for each file.

    Raises:
        CapsbenchError: there is nothing to fetch for this data set, no server answers, a checksum is wrong, or the disk
            is full; says which files to put where by hand.
    """
    folder = Path(root).expanduser().absolute() if root is not None else fetch_folder() / name
    if name not in MIRRORS:
        known = ", ".join(MIRRORS)
        why = "comes with capsbench" if name in PUBLISHED and PUBLISHED[name].asset else "has no published address"
        raise CapsbenchError(f"{name} {why}; `capsbench data fetch` knows {known}")
    lines = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for download in MIRRORS[name]:
            lines += _bring(download, folder, progress=progress)
    except _Unreachable as error:
        raise CapsbenchError(f"{error}\n{by_hand(name, folder)}") from error
    except OSError as error:
        raise CapsbenchError(f"cannot write to {folder}: {error.strerror or error}") from error
    return folder, lines


def by_hand(name: str, folder: Path) -> str:
    """Which files to fetch elsewhere, and where to put them."""
    lines = ["Without a network: fetch these files on another machine and put them here, then run the command again."]
    for download in MIRRORS[name]:
        checksum = f"md5 {download.md5}" if download.md5 else "no published checksum"
        lines.append(f"  {download.url}  ({checksum})\n    -> {folder / download.name}")
    return "\n".join(lines)


class _Unreachable(CapsbenchError):
    """No server, or none that goes on answering."""


def _bring(download: Download, folder: Path, *, progress: bool) -> list[str]:
    places = [folder / target for _, target in download.members]
    if places and all(place.is_file() for place in places):
        return [f"{place.name}: already there" for place in places]
    path = fetch(download, folder, progress=progress)
    checked = f"md5 {download.md5}, as published" if download.md5 else f"md5 {md5_of_file(path)}, none is published"
    if not places:
        return [f"{path.name}: {checked}"]
    written = extract(path, dict(download.members), folder, download.limit)
    path.unlink()
    return [f"{place.name}: out of {download.name} ({checked})" for place in written]


def fetch(download: Download, folder: Path, *, progress: bool = True, pause: float = 1.0) -> Path:
    """Fetch one file.

    Args:
        download: what to fetch.
        folder: where to put it.
        progress: show a bar on standard error.
        pause: seconds before the second attempt in a row that brought nothing; doubled each time.

    Returns:
        The file, whose checksum is right.

    Raises:
        CapsbenchError: no server answers, the checksum is wrong, another process is fetching the file, or the disk is
            full.
    """
    path = folder / download.name
    if path.is_file() and (download.md5 is None or md5_of_file(path) == download.md5):
        return path
    part = path.with_name(f".{path.name}.part")
    with _locked(part) as stream:
        resumed = stream.seek(0, os.SEEK_END)
        _receive(download, stream, progress=progress, pause=pause)
        found = md5_of_file(part)
        if download.md5 not in (None, found) and resumed:
            # What lay there may have been of another file: once more from the start.
            stream.truncate(0)
            _receive(download, stream, progress=progress, pause=pause)
            found = md5_of_file(part)
        if download.md5 not in (None, found):
            part.unlink()
            raise CapsbenchError(
                f"{download.url}: expected md5 {download.md5}, found {found}; nothing was kept. "
                "The server may have sent an error page or another version"
            )
        os.fsync(stream.fileno())
        part.replace(path)
    return path


@contextmanager
def _locked(part: Path) -> Iterator[BufferedRandom]:
    """The unfinished file, opened to go on, for this process alone."""
    with part.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CapsbenchError(f"another process is fetching {part}") from error
        yield stream


def _receive(download: Download, stream: BufferedRandom, *, progress: bool, pause: float) -> None:
    """Ask until everything is there."""
    from tqdm import tqdm

    failures = 0
    with tqdm(
        total=download.size,
        unit="B",
        unit_scale=True,
        desc=download.name,
        disable=None if progress else True,
        leave=False,
    ) as bar:
        while True:
            before = stream.seek(0, os.SEEK_END)
            try:
                if _attempt(download, stream, bar):
                    return
                reason = "the connection ended early"
            except _Full:
                raise
            except urllib.error.HTTPError as error:
                reason = f"the server says {error.code} {error.reason}"
                if 400 <= error.code < 500 and error.code not in COME_BACK:
                    raise _Unreachable(f"{download.url}: {reason}") from error
            except DROPS as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise _Full(f"{stream.name}: {error.strerror}") from error
                reason = str(getattr(error, "reason", None) or error)
            failures = 0 if stream.seek(0, os.SEEK_END) > before else failures + 1
            if failures == ATTEMPTS:
                raise _Unreachable(f"{download.url} cannot be fetched: {reason}")
            if failures:
                time.sleep(pause * 2 ** (failures - 1))


class _Full(CapsbenchError):
    """Too long for the disk or for belief."""


def _attempt(download: Download, stream: BufferedRandom, bar: Any) -> bool:
    """One request for what is missing; whether everything is there now."""
    offset = stream.seek(0, os.SEEK_END)
    request = urllib.request.Request(download.url, headers={"User-Agent": "capsbench", "Accept-Encoding": "identity"})  # noqa: S310 - the table's own address
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response = _OPENER.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            error.close()
            # Nothing lies behind what is there: it is whole, or of another file, which the checksum decides.
            if error.headers.get("Content-Range", "") == f"bytes */{offset}":
                return True
            stream.truncate(0)
            return False
        raise
    with response:
        if offset and not (
            response.status == http.client.PARTIAL_CONTENT
            and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        ):
            # The server sends everything from the start.
            stream.truncate(0)
            offset = 0
        announced = response.headers.get("Content-Length", "")
        total = offset + int(announced) if announced.isdecimal() else None
        _check_room(download, stream, total, offset)
        bar.reset(total=total or download.size)
        bar.update(offset)
        while block := response.read(BLOCK):
            offset += len(block)
            if offset > (total or MAX_BYTES):
                raise _Full(f"{download.url}: found more than the expected {total or MAX_BYTES:,} bytes")
            stream.write(block)
            bar.update(len(block))
        stream.flush()
    return total is None or offset == total


def _check_room(download: Download, stream: BufferedRandom, total: int | None, offset: int) -> None:
    if total is None:
        return
    if total > MAX_BYTES:
        raise _Full(f"{download.url}: expected at most {MAX_BYTES:,} bytes, the server announces {total:,}")
    free = shutil.disk_usage(Path(stream.name).parent).free
    if total - offset + SPARE_BYTES > free:
        raise _Full(f"{Path(stream.name).parent}: {total - offset:,} bytes are missing, only {free:,} are free")


class _StayEncrypted(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_StayEncrypted)
