"""Promise: a disk that is full ends a run with one clear line, and once there is room the same command ends as if."""

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from capsbench import files
from capsbench.data.download import fetch
from capsbench.data.mirrors import Download
from capsbench.errors import CapsbenchError
from capsbench.files import CannotWrite, write_atomic
from capsbench.training.runs import State, run_folder
from capsbench.training.train import run
from small_disk import MEGABYTE, fill, mounted, needs_small_disk
from tiny import assert_same_run, tiny_config

TESTS = Path(__file__).parent
ALWAYS = "trainer.checkpoint_minutes=1e-9"
# The file that finds the disk full, and which writing of it does.
MOMENTS = [
    ("beat", 1),
    ("config.yaml", 1),
    ("provenance.json", 1),
    ("metrics.csv", 1),
    ("last.ckpt", 1),
    ("last.ckpt", 7),
    ("best.ckpt", 1),
    ("predictions.npz", 1),
    ("result.json", 1),
]


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", 4 * MEGABYTE) as path:
        yield path


def fill_before(monkeypatch, disk: Path, name: str, time: int) -> None:
    """Another program fills the disk just before a file is written for the `time`-th time."""
    real, seen = files.replacing, []

    def replacing(path):
        seen.append(Path(path).name)
        if seen[-1] == name and seen.count(name) == time:
            fill(disk)
        return real(path)

    monkeypatch.setattr(files, "replacing", replacing)


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")] if folder.exists() else []


@needs_small_disk
@pytest.mark.usefixtures("tiny_data")
@pytest.mark.parametrize(("name", "time"), MOMENTS, ids=[f"{name}-{time}" for name, time in MOMENTS])
def test_a_run_says_so_and_goes_on_when_there_is_room(trained, disk, monkeypatch, capfd, name, time):
    cfg = tiny_config(disk / "runs", ALWAYS)
    folder = run_folder(cfg)
    with monkeypatch.context() as filled:
        fill_before(filled, disk, name, time)
        with pytest.raises(CannotWrite, match=rf"cannot write .*{name}: No space left on device; make room"):
            run(cfg)
    assert folder.state in (State.todo, State.stale, State.failed)
    assert not (folder.path / "claim").exists()
    assert left_behind(folder.path) in ([], [".progress.json.tmp"])
    assert "Traceback" not in capfd.readouterr().err
    (disk / "ballast").unlink()
    run(cfg)
    assert folder.state is State.done
    assert_same_run(folder.path, trained.folder)
    assert left_behind(folder.path) == []


@needs_small_disk
@pytest.mark.usefixtures("tiny_data")
def test_a_log_that_cannot_be_written_costs_the_run_nothing(trained, disk, monkeypatch, capfd):
    """Lines of train.log are lost for some time; nothing else is."""
    cfg = tiny_config(disk / "runs")
    from capsbench.training import train

    real = train.fit

    def fit(*arguments):
        ballast = fill(disk)
        logging.getLogger("capsbench").warning("a line that finds no room, %s", "x" * 100_000)
        ballast.unlink()
        return real(*arguments)

    monkeypatch.setattr(train, "fit", fit)
    run(cfg)
    assert "Logging error" not in capfd.readouterr().err
    assert_same_run(run_folder(cfg).path, trained.folder)


@needs_small_disk
def test_the_old_file_stays_when_there_is_no_room_for_the_new(disk):
    path = disk / "table.csv"
    write_atomic(path, "old")
    ballast = fill(disk)
    with pytest.raises(CannotWrite, match=r"cannot write .*table\.csv: No space left on device"):
        write_atomic(path, bytes(MEGABYTE))
    assert path.read_text() == "old"
    assert left_behind(disk) == []
    ballast.unlink()
    write_atomic(path, "new")
    assert path.read_text() == "new"


@needs_small_disk
def test_a_download_goes_on_when_there_is_room(disk):
    """The server does not say how long the file is, so that the disk itself has to."""
    content = os.urandom(6 * MEGABYTE)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/*")
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content[start:])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        wanted = Download(f"http://127.0.0.1:{server.server_port}/images.gz", hashlib.md5(content).hexdigest())
        with pytest.raises(CapsbenchError, match=r"images\.gz.*: No space left on device"):
            fetch(wanted, disk, progress=False)
        assert not (disk / "images.gz").exists()
        subprocess.run(["mount", "-o", f"remount,size={16 * MEGABYTE}", disk], check=True)
        assert fetch(wanted, disk, progress=False).read_bytes() == content
        server.shutdown()


@pytest.mark.slow
@needs_small_disk
@pytest.mark.parametrize("megabytes", [0.0625, 0.25, 0.5])
def test_the_command_line_prints_one_line(trained, tmp_path, megabytes):
    """Wherever a disk that is too small gets full, as the user sees it: status 2, and no traceback."""
    program = """
import sys
from pathlib import Path
from capsbench.app import execute
from capsbench.reporting import reporting_errors
from capsbench.training import train
from tiny import tiny_config, tiny_splits
train.load_splits = lambda _: tiny_splits()
with reporting_errors():
    execute(tiny_config(Path(sys.argv[1]), "trainer.checkpoint_minutes=1e-9"))
"""
    # Another number of threads adds in another order.
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment = os.environ | threads | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "ignore"}
    with mounted(tmp_path / "small", int(megabytes * MEGABYTE)) as small:
        done = subprocess.run(
            [sys.executable, "-c", program, str(small / "runs")],
            env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if "No space" in line]
        assert done.returncode == 2, done.stderr
        assert len(said) == 1
        assert said[0].startswith("capsbench: ")
        assert "Traceback" not in done.stderr
        shutil.copytree(small / "runs", tmp_path / "large")
    cfg = tiny_config(tmp_path / "large", ALWAYS)
    from capsbench.training import train
    from tiny import tiny_splits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_splits", lambda _: tiny_splits())
        run(cfg)
    assert_same_run(run_folder(cfg).path, trained.folder)


def test_only_errors_of_the_disk_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError), files.explained():
        (tmp_path / "nowhere").read_text()
    with pytest.raises(CannotWrite, match="No space left") as caught, files.explained():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there")
    assert str(caught.value).startswith("/there: No space left on device; make room")
    assert isinstance(caught.value, OSError)
