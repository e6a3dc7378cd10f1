import fcntl
import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest

from capsbench.data import commands, download
from capsbench.data.download import by_hand, fetch, fetch_dataset
from capsbench.data.mirrors import MIRRORS, Download
from capsbench.data.published import PUBLISHED
from capsbench.errors import CapsbenchError

CONTENT = np.random.default_rng(2).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file as it is told: how many bytes before each drop, whether ranges are honoured, which status."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.drops, self.statuses = CONTENT, [], []
        self.ranges = self.lengths = True
        self.redirect = None
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(server.content) and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        self.send_response(206 if wanted and server.ranges else 200)
        if wanted and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        body = server.content[start:]
        self.wfile.write(body[: server.drops.pop(0)] if server.drops else body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    def run(**changes):
        return fetch(Download(**{"url": server.url, "md5": MD5, **changes}), tmp_path, progress=False, pause=0.0)

    return run


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_fetched_once(get, server, tmp_path):
    path = get()
    assert path == tmp_path / "file.bin"
    assert path.read_bytes() == CONTENT
    get()
    assert server.asked == [None]
    assert leftovers(tmp_path) == []


def test_drops_are_resumed_where_they_happened(get, server):
    server.drops = [70_000, 100_000]
    assert get().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-", "bytes=170000-"]


def test_a_server_that_ignores_ranges_starts_over(get, server):
    server.drops, server.ranges = [70_000], False
    assert get().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-"]


def test_an_interrupted_fetch_goes_on_later(get, server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(CONTENT[:120_000])
    assert get().read_bytes() == CONTENT
    assert server.asked == ["bytes=120000-"]


def test_a_whole_part_needs_no_more_bytes(get, server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.asked == ["bytes=300000-"]


@pytest.mark.parametrize("length", [1000, 300_000, 400_000])
def test_a_part_of_another_file_is_thrown_away(get, server, tmp_path, length):
    (tmp_path / ".file.bin.part").write_bytes(bytes(length))
    assert get().read_bytes() == CONTENT
    assert server.asked[-1] is None


def test_without_a_length_the_checksum_decides(get, server):
    server.lengths, server.drops = False, [70_000]
    with pytest.raises(CapsbenchError, match=f"expected md5 {MD5}, found"):
        get()
    assert get().read_bytes() == CONTENT


def test_a_wrong_checksum_keeps_nothing(get, server, tmp_path):
    server.content = b"<html>an error page</html>"
    with pytest.raises(CapsbenchError) as error:
        get()
    found = hashlib.md5(server.content).hexdigest()
    assert f"{server.url}: expected md5 {MD5}, found {found}; nothing was kept" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_earlier_file_is_replaced(get, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"old")
    assert get().read_bytes() == CONTENT


def test_busy_servers_are_asked_again_and_missing_files_are_not(get, server):
    server.statuses = [503, 429, 200]
    assert get().read_bytes() == CONTENT
    get().unlink()
    server.asked.clear()
    server.statuses = [404, 200]
    with pytest.raises(CapsbenchError, match="the server says 404"):
        get()
    assert len(server.asked) == 1


def test_a_server_that_never_answers_is_given_up_but_what_came_is_kept(get, server, tmp_path):
    server.drops = [100] + [0] * 20
    with pytest.raises(CapsbenchError, match="cannot be fetched: the connection ended early"):
        get()
    assert len(server.asked) == 1 + download.ATTEMPTS
    assert (tmp_path / ".file.bin.part").read_bytes() == CONTENT[:100]


def test_an_endless_answer_is_stopped(get, server, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 100_000)
    with pytest.raises(CapsbenchError, match="expected at most 100,000 bytes, the server announces 300,000"):
        get()
    server.lengths = False
    with pytest.raises(CapsbenchError, match="found more than the expected 100,000 bytes"):
        get()


def test_a_full_disk_is_noticed_before(get, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(CapsbenchError, match="300,000 bytes are missing, only 1,000 are free"):
        get()


def test_two_processes_do_not_write_one_file(get, tmp_path):
    with (tmp_path / ".file.bin.part").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(CapsbenchError, match=r"another process is fetching .*\.file\.bin\.part"):
            get()


def test_https_never_becomes_http():
    handler = download._StayEncrypted()
    request = download.urllib.request.Request("https://example.org/file")
    with pytest.raises(download.urllib.error.URLError, match="which is not https"):
        handler.redirect_request(request, None, 302, "Found", {}, "http://example.org/file")
    followed = handler.redirect_request(request, None, 302, "Found", {}, "https://example.org/other")
    assert followed.full_url == "https://example.org/other"


def archive_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def as_cifar(server, monkeypatch):
    """The loopback server in the place of CIFAR-10's."""
    server.content = archive_of({"set/a.bin": b"first", "../evil": b"evil", "set/b.bin": b"second"})
    served = Download(
        server.url, hashlib.md5(server.content).hexdigest(), None, (("set/a.bin", "a.bin"), ("set/b.bin", "b.bin"))
    )
    monkeypatch.setitem(MIRRORS, "cifar10", (served,))
    return served


def test_an_archive_is_unpacked_and_removed(as_cifar, server, tmp_path):
    folder, lines = fetch_dataset("cifar10", progress=False)
    assert folder == tmp_path / "fetched" / "capsbench" / "cifar10"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.bin": b"first", "b.bin": b"second"}
    assert lines[0] == f"a.bin: out of file.bin (md5 {as_cifar.md5}, as published)"
    assert fetch_dataset("cifar10", progress=False)[1] == ["a.bin: already there", "b.bin: already there"]
    assert len(server.asked) == 1


def test_what_has_no_checksum_says_so(as_cifar, tmp_path, monkeypatch):
    monkeypatch.setitem(MIRRORS, "cifar10", (replace(as_cifar, md5=None),))
    text = commands.fetch("cifar10", str(tmp_path / "own"), progress=False)
    assert f"cifar10: {tmp_path / 'own'}; use it with data=NAME data.root=" in text
    assert f"(md5 {as_cifar.md5}, none is published)" in text
    assert "nobody publishes a checksum of file.bin" in text


def test_without_a_network_all_files_and_places_are_named(tmp_path, monkeypatch):
    def offline(*arguments, **keywords):
        raise download.urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(download._OPENER, "open", offline)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with pytest.raises(CapsbenchError) as error:
        fetch_dataset("usps", str(tmp_path), progress=False)
    message = str(error.value)
    assert "cannot be fetched: Name or service not known" in message
    for served in MIRRORS["usps"]:
        assert f"  {served.url}  (md5 {served.md5})\n    -> {tmp_path / served.name}" in message


def test_what_cannot_be_fetched():
    with pytest.raises(
        CapsbenchError, match="mnist comes with capsbench; `capsbench data fetch` knows fashion_mnist, "
    ):
        fetch_dataset("mnist")
    with pytest.raises(CapsbenchError, match="folder has no published address"):
        fetch_dataset("folder")


def test_the_table_of_addresses_fits_the_table_of_files():
    assert set(MIRRORS) == set(PUBLISHED) - {"mnist"}
    for name, served in MIRRORS.items():
        files = {file.name: file for file in PUBLISHED[name].files}
        got = [target for one in served for _, target in one.members] or [one.name for one in served]
        assert {file.removesuffix(".gz").removesuffix(".bz2") for file in got} == set(files)
        for one in served:
            assert one.url.startswith("https://")
            assert one.md5 is None or len(one.md5) == 32
            file = files.get(one.name.removesuffix(".gz").removesuffix(".bz2"))
            if file is not None:
                assert one.md5 in (file.packed_md5, file.md5)
        assert by_hand(name, PUBLISHED_FOLDER).count("->") == len(served)


PUBLISHED_FOLDER = download.Path("/data")
