"""Damaged, foreign and wrong files: commands go on where they can, name what they leave out, and show no traceback."""

import re
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from capsbench import load_run
from capsbench.errors import CapsbenchError
from capsbench.stored_config import stored_config
from capsbench.studies.plan import set_damage_aside
from capsbench.training import train
from capsbench.training.evaluate import evaluate_run
from capsbench.training.metrics_csv import MetricsCsv
from capsbench.training.runs import RunFolder, State
from tiny import Trained, tiny_splits
from two_arms import SWEEP, capsbench, planned

WRONG = {
    "cut short": '{"schema": 1, "metrics": {"test/acc',
    "empty": "",
    "no mapping": "[]",
    "another version": '{"schema": 99}',
    "nested for ever": "[" * 100_000,
    "no text": b"\xff\xfe\x00",
    "metrics of another kind": '{"schema": 1, "metrics": [1, 2]}',
    "a metric that is text": '{"schema": 1, "metrics": {"test/accuracy": "high"}}',
    "sections that are text": '{"schema": 1, "run": "x", "config": 3, "provenance": "y", "figures": []}',
    "test_images that is text": '{"schema": 1, "test_images": "many"}',
}


@pytest.fixture(autouse=True)
def few_images(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "load_splits", lambda _: tiny_splits())


@pytest.fixture
def sweep(tmp_path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The runs of the sweep, two of four finished."""
    root = tmp_path_factory.mktemp("finished")
    (root / "two.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_splits", lambda _: tiny_splits())
        for run in planned(root / "two.yaml", root)[:2]:
            train.run(run.cfg)
    return root / "runs"


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "runs")


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("damage", WRONG)
def test_a_damaged_result_is_named_and_the_others_go_on(capsys, sweep, runs, damage):
    first, second = planned(sweep)[:2]
    write(first.folder.path / "result.json", WRONG[damage])
    status, said = capsbench(capsys, "status", str(sweep), f"run.root={runs}")
    assert status == 1
    assert "plain seed 0   damaged" in said
    assert "pooled seed 0  done" in said
    assert second.folder.result()["run"]["arm"] == "pooled"
    status, said = capsbench(capsys, "results", "--root", str(runs), "--out", str(runs.parent / "results.csv"))
    assert (status, "2 runs written" in said) == (0, True)
    assert ",damaged," in (runs.parent / "results.csv").read_text()
    assert not first.needs_work(retry_failed=False)
    assert first.needs_work(retry_failed=True)


def test_a_damaged_result_stops_neither_sweep_nor_report(capsys, sweep, runs):
    write(planned(sweep)[0].folder.path / "result.json", WRONG["sections that are text"])
    root = f"run.root={runs}"
    status, said = capsbench(capsys, "sweep", str(sweep), root, "--dry-run")
    assert status == 0
    assert "plain seed 0   damaged" in said
    status, _ = capsbench(capsys, "report", str(sweep), root, "--out", "report")
    assert status == 0
    assert re.search(r"1 of 4 runs done, .*1 damaged", Path("report/index.html").read_text())


def test_a_damaged_result_is_made_again_when_failed_runs_are(sweep, runs):
    first = planned(sweep)[0]
    before = first.folder.result()["metrics"]["test/errors"]
    write(first.folder.path / "result.json", "{")
    with pytest.raises(CapsbenchError, match="is damaged"):
        train.run(first.cfg)
    set_damage_aside([first])
    assert (first.folder.path / "result.json.damaged").read_text() == "{"
    assert train.run(first.cfg)["metrics"]["test/errors"] == before


def test_foreign_files_and_folders_are_left_alone(capsys, sweep, runs):
    group = runs / "two"
    (group / "notes.txt").write_text("mine")
    (group / "stray_12345678" / "seed00").mkdir(parents=True)
    (group / "plain_deadbeef").mkdir()
    (group / "plain_deadbeef" / "seed0x").mkdir()
    (group / "plain_deadbeef" / "seed07").write_text("a file")
    (group / "backup" / "seed00").mkdir(parents=True)
    (group / "loop_12345678").symlink_to(group)
    (runs / "other").mkdir()
    (runs / "file").write_text("")
    root = f"run.root={runs}"
    status, said = capsbench(capsys, "status", str(sweep), root)
    assert status == 0
    assert "4 runs: 2 done, 2 todo" in said
    assert "backup" in said
    assert "stray_12345678" in said
    status, said = capsbench(capsys, "sweep", str(sweep), root, "--dry-run")
    assert status == 0
    status, said = capsbench(capsys, "report", str(sweep), root, "--out", str(runs.parent / "report"))
    assert status == 0
    assert "stray" in (runs.parent / "report" / "index.html").read_text()
    status, said = capsbench(capsys, "results", "--root", str(runs), "--out", str(runs.parent / "results.csv"))
    assert status == 0


DAMAGED = [
    ("failed.json", "{"),
    ("failed.json", "[]"),
    ("failed.json", '{"schema": 1}'),
    ("failed.json", '{"schema": 1, "error": 5}'),
    ("progress.json", '{"epoch": "first"}'),
    ("progress.json", '{"epoch": 1}'),
    ("claim", "a file"),
]


@pytest.mark.parametrize("damaged", [DAMAGED[:4], DAMAGED[4:]], ids=["failures", "progress"])
def test_other_damaged_files_of_runs_stop_nobody(capsys, sweep, tmp_path, damaged):
    for run, (name, content) in zip(planned(sweep), damaged, strict=False):
        run.folder.path.mkdir(parents=True)
        (run.folder.path / "last.ckpt").write_bytes(b"")
        (run.folder.path / name).write_text(content)
    _, said = capsbench(capsys, "status", str(sweep), f"run.root={tmp_path / 'runs'}")
    assert "pooled seed 1" in said
    status, _ = capsbench(capsys, "report", str(sweep), f"run.root={tmp_path / 'runs'}", "--out", "report")
    assert status == 0


BEATS = ["", "{", "[]", '{"host": 3}', '{"host": "HERE", "pid": "x"}', '{"host": "HERE", "pid": -5}']
BEATS += ['{"host": "HERE", "pid": 1, "started": "then"}']


@pytest.mark.parametrize("beat", BEATS)
def test_a_claim_that_names_nobody_is_stale_or_running(tmp_path, beat):
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim" / "beat").write_text(beat.replace("HERE", socket.gethostname()))
    assert RunFolder(tmp_path).state in (State.stale, State.running)


@pytest.mark.parametrize(
    "content",
    ["", "{", "5", "- a", "model: 3", "model: {}", "? [a]\n: b", "model: {name: !!python/name:os.system ''}",
     "model: &a {name: *a}", "run: {notes: 2020-01-01}\nmodel: {name: x}", "\x00", "[" * 5000, "seed: [1\nb: 2"],
)  # fmt: skip
def test_a_damaged_configuration_is_named(trained: Trained, tmp_path, content):
    run = trained.copy(tmp_path / "runs")
    (run / "config.yaml").write_text(content)
    for use in (stored_config, load_run, lambda path: evaluate_run(path, [])):
        with pytest.raises(CapsbenchError, match=r"config\.yaml"):
            use(run)


def test_keys_of_a_configuration_may_be_of_a_wrong_type(trained: Trained, tmp_path):
    run = trained.copy(tmp_path / "runs")
    whole = yaml.safe_load((run / "config.yaml").read_text())
    # One key of each kind: to look at every one takes a minute and a half.
    kinds = {type(value): (group, key) for group in whole if isinstance(whole[group], dict)
             for key, value in whole[group].items()}  # fmt: skip
    assert kinds.keys() >= {int, float, str, bool, list, dict}
    for group, key in kinds.values():
        for wrong in ({"a": 1}, ["x"], "???"):
            (run / "config.yaml").write_text(yaml.safe_dump({**whole, group: {**whole[group], key: wrong}}))
            # A free text may well be "???"; nothing but a refusal by name may come of the others.
            with suppress(CapsbenchError):
                stored_config(run)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("step,epoch,seconds\n1,0,0.5\n2,0\x00,1\n", "is damaged"),
        ("step,epoch,seconds\n1,0,0.5\nx,0,1\n", "row 3 has no step"),
        ("step,epoch\n1,0,0.5,7\n", "row 2 has no step or too many cells"),
        ("a,b\n1,2\n", "row 2 has no step"),
        (b"\xff\xfe\x00step", "is damaged"),
    ],
)
def test_damaged_metrics_are_refused_by_name(tmp_path, content, problem):
    write(tmp_path / "metrics.csv", content)
    if content == "step,epoch,seconds\n1,0,0.5\n2,0\x00,1\n":
        # Python 3.11 and later read a NUL as a character; the number is wrong then, the file is not.
        MetricsCsv(tmp_path / "metrics.csv")
        return
    with pytest.raises(CapsbenchError, match=rf"metrics\.csv is damaged.*{'' if problem == 'is damaged' else problem}"):
        MetricsCsv(tmp_path / "metrics.csv")
