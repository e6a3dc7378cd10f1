"""Nothing that is read can run code, nothing secret is written, nothing listens beyond this machine."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import capsbench
from capsbench import load_run
from capsbench.data.formats.cifar_pickle import read_cifar_pickle
from capsbench.errors import CapsbenchError
from capsbench.report.arrays import read_arrays
from capsbench.storage import checked_url, open_storage
from capsbench.stored_config import stored_config
from capsbench.training import provenance, train
from capsbench.training.runs import RunFolder
from capsbench.training.weights import load_weights, read_head
from tiny import CNN, RUN, Trained, tiny_config, tiny_splits

PACKAGE = Path(capsbench.__file__).parent
MARKER = "marker0secret0"
# A W&B key is 40 hexadecimal digits; anything else the client itself refuses.
WANDB_KEY = "5ec4e7" * 6 + "abcd"
SECRETS = {"PGPASSWORD": f"{MARKER}pg", "WANDB_API_KEY": WANDB_KEY, "MY_CLOUD_TOKEN": f"{MARKER}cloud"}


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.fixture
def trace(tmp_path) -> Path:
    return tmp_path / "code-was-run"


def test_the_payload_would_run(trace):
    """Otherwise the tests below would test nothing."""
    pickle.loads(pickle.dumps(Evil(trace)))
    assert trace.exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["alone", "beside the weights"])
def test_no_checkpoint_runs_code(trained: Trained, tmp_path, trace, legacy, place):
    """In every place that reads one: a loaded run, weights to start from, and a run that goes on."""
    run = trained.copy(tmp_path / "runs")
    content = Evil(trace)
    if place != "alone":
        content = {**torch.load(run / "last.ckpt", weights_only=True), "extra": Evil(trace)}
    for name in ("last.ckpt", "best.ckpt"):
        torch.save(content, run / name, _use_new_zipfile_serialization=not legacy)
    for checkpoint in ("last", "selected"):
        with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
            load_run(run, checkpoint)
    with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
        load_weights(torch.nn.Linear(1, 1), run / "last.ckpt")
    with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
        read_head(run / "last.ckpt")
    assert not trace.exists()


def test_no_run_goes_on_from_a_checkpoint_with_code(trained: Trained, tmp_path, trace, monkeypatch):
    monkeypatch.setattr(train, "load_splits", lambda _: tiny_splits())
    run = trained.copy(tmp_path / "runs")
    (run / "result.json").unlink()
    torch.save({"global_step": 1, "compiled": False, "extra": Evil(trace)}, run / "last.ckpt")
    with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
        train.run(stored_config(run))
    with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
        train.run(tiny_config(tmp_path / "other", f"trainer.init_from={run / 'last.ckpt'}"))
    assert not trace.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_no_data_runs_code(tmp_path, trace, protocol):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"labels": [1], b"data": Evil(trace)}, protocol))
    with pytest.raises(CapsbenchError):
        read_cifar_pickle(path)
    np.savez(tmp_path / "predictions.npz", test_label=np.array([Evil(trace)], dtype=object))
    with pytest.raises(CapsbenchError, match="cannot be read"):
        read_arrays(tmp_path / "predictions.npz", ("test_label",))
    assert not trace.exists()


def test_no_configuration_runs_code_or_looks_into_the_environment(trained: Trained, tmp_path, trace, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", MARKER)
    run = trained.copy(tmp_path / "runs")
    whole = (run / "config.yaml").read_text()
    for line in (f"notes: !!python/object/apply:os.system ['touch {trace}']", "notes: ${oc.env:PGPASSWORD}"):
        (run / "config.yaml").write_text(whole.replace("notes: ''", line))
        assert line in (run / "config.yaml").read_text()
        with pytest.raises(CapsbenchError) as caught:
            stored_config(run)
        assert MARKER not in str(caught.value)
    assert not trace.exists()


def test_the_source_unpickles_only_what_the_worker_wrote_itself():
    """Each call that could run code from a file is one of these, and says why it cannot."""
    allowed = {
        "studies/zygote.py": "pickle.loads(base64",  # a line on the pipe from its own parent
        "training/results.py": "weights_only=True",
        "training/weights.py": "weights_only=True",
        "trained.py": "module.load_file",
    }
    risky = re.compile(
        r"(?<![\w.])(?:pickle|torch|np|yaml|joblib|shelve|marshal)\.(?:load|loads|full_load|unsafe_load)\("
    )
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for line in path.read_text().splitlines():
            if risky.search(line):
                assert "weights_only=True" in line or "allow_pickle=False" in line or allowed.get(name, "?") in line, (
                    f"{name}: {line.strip()}"
                )
            assert not re.search(r"(?<![\w.])(?:eval|exec)\(|shell=True|os\.system|allow_pickle=True", line), name


def test_temporary_files_are_private_and_nothing_is_opened_to_the_network():
    """What lies in the system's own temporary folder is in a folder of mode 0700; there is no server in the package."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        uses = set(re.findall(r"tempfile\.(\w+)", text))
        assert uses <= {"TemporaryDirectory"}, f"{path}: {uses}"
        assert "/tmp" not in text, path
        assert not re.search(r"(?<!event)\.listen\(|serve_forever|HTTPServer|\.bind\(", text), path


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{MARKER}@host/db",
        f"postgresql+psycopg://me@host/db?password={MARKER}",
        f"mysql://me:{MARKER}@host/db",
    ],
)
def test_a_password_in_the_storage_is_refused_and_not_repeated(url):
    with pytest.raises(CapsbenchError, match="PGPASSWORD") as caught:
        checked_url(url)
    assert MARKER not in str(caught.value)


def test_an_unreachable_storage_does_not_tell_the_password(monkeypatch):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PGPASSWORD", MARKER)
    with pytest.raises(CapsbenchError, match="cannot be opened") as caught:
        open_storage("postgresql+psycopg://me@127.0.0.1:9/db")
    assert MARKER not in str(caught.value)


def test_the_kept_command_has_no_password(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/capsbench", "sweep", "quick", f"postgresql://me:{MARKER}@host/db"])
    assert provenance.command() == "capsbench sweep quick postgresql://***@host/db"


def test_the_kept_command_of_a_sweeps_run_can_be_typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/capsbench/app.py", "model.channels=[8, 16]", "seed=3"])
    assert provenance.command() == "capsbench train 'model.channels=[8, 16]' seed=3"


def everything_in(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["done", "failed"])
def test_no_secret_is_kept_and_nobody_can_connect(tmp_path, ending):
    """A real run, with W&B offline, in an environment full of secrets: its folder, its output, its sockets."""
    words = [*RUN, *CNN, "debug=fast", "logger.wandb=offline", "run.root=runs", "run.group=secret"]
    if ending == "failed":
        words.append("optimizer.lr=1e30")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, **SECRETS, "TMPDIR": str(temporary), "HOME": str(tmp_path / "home")}
    with subprocess.Popen(
        [sys.executable, "-m", "capsbench", "train", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        listening = set()
        while process.poll() is None:
            for each in family(process.pid):
                listening |= listeners(each)
            time.sleep(0.05)
        said = process.stdout.read()
    (run,) = (tmp_path / "runs").glob("secret/*/seed00")
    assert RunFolder(run).state == ending, said.decode()
    assert list(run.glob("wandb/*/*.wandb"))
    kept = everything_in(tmp_path)
    for secret in SECRETS.values():
        assert secret.encode() not in said
        assert secret.encode() not in kept
    if ending == "failed":
        failure = json.loads((run / "failed.json").read_text())
        assert "not finite" in failure["error"]
    assert all(address.startswith(("127.", "::1")) for address in listening), listening
    # What is left in the temporary folder, if anything, is the user's alone.
    for path in temporary.iterdir():
        assert path.stat().st_mode & 0o077 == 0 or path.is_socket(), path


def family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def listeners(process: psutil.Process) -> set[str]:
    try:
        found = process.net_connections("inet")
    except psutil.Error:
        return set()
    return {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}


@pytest.mark.slow
def test_a_sweep_with_a_password_in_its_storage_starts_nothing_and_tells_nobody(tmp_path):
    url = f"postgresql+psycopg://me:{MARKER}@127.0.0.1:9/db"
    done = subprocess.run(
        [sys.executable, "-m", "capsbench", "sweep", "quick", "--storage", url],
        cwd=tmp_path,
        env={**os.environ, **SECRETS},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"the address holds a password" in done.stderr
    for secret in (MARKER, *SECRETS.values()):
        assert secret.encode() not in done.stdout + done.stderr + everything_in(tmp_path)
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
