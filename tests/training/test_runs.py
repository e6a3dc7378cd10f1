"""A run's folder: its name, its state on disk, and the claim that one process at a time can hold."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from capsbench.config import Config
from capsbench.config_models import Cnn
from capsbench.errors import CapsbenchError
from capsbench.training import runs
from capsbench.training.runs import Claim, RunFolder, State, find_runs, run_folder, run_record


def config(root: Path, **run: str) -> Config:
    cfg = Config(model=Cnn(), seed=3)
    cfg.run.root, cfg.run.group, cfg.run.arm = str(root), "quick", "cnn_max"
    for name, value in run.items():
        setattr(cfg.run, name, value)
    return cfg


def dead_process() -> int:
    """The number of a process that is gone."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(done.stdout)


def held_by(folder: Path, **owner) -> Path:
    """A claim as another process would have left it."""
    beat = folder / "claim" / "beat"
    beat.parent.mkdir(parents=True)
    beat.write_text(json.dumps({"host": socket.gethostname(), **owner}))
    return beat


def test_name_says_group_arm_identity_and_seed(root):
    cfg = config(root)
    record = run_record(cfg)
    assert run_folder(cfg).path == root / "quick" / f"cnn_max_{record['hash']}" / "seed03"
    assert record == {
        "id": f"cnn_max-{record['hash']}-s03",
        "group": "quick",
        "arm": "cnn_max",
        "seed": 3,
        "hash": record["hash"],
    }
    assert len(record["hash"]) == 8


@pytest.mark.parametrize("name", ["group", "arm"])
@pytest.mark.parametrize("value", ["", "..", "a/b", ".hidden", "/tmp"])
def test_names_that_leave_the_root_are_refused(root, name, value):
    with pytest.raises(CapsbenchError, match=rf"run\.{name}='{value}' must be a plain folder name"):
        run_folder(config(root, **{name: value}))


def test_state_is_what_the_disk_says(tmp_path):
    folder = RunFolder(tmp_path / "seed00")
    assert folder.state is State.todo
    with Claim(folder.path):
        assert folder.state is State.running
    assert folder.state is State.todo
    (folder.path / "last.ckpt").write_bytes(b"")
    assert folder.state is State.stale
    (folder.path / "failed.json").write_text("{}")
    assert folder.state is State.failed
    with Claim(folder.path):
        assert folder.state is State.running
    (folder.path / "result.json").write_text("{}")
    assert folder.state is State.done


def test_a_dead_process_leaves_a_stale_run(tmp_path):
    held_by(tmp_path, pid=dead_process())
    assert RunFolder(tmp_path).state is State.stale


def test_missing_and_damaged_results_say_what_to_do(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(CapsbenchError, match=r"result\.json does not exist: the run has not come to that"):
        folder.result()
    (tmp_path / "result.json").write_text('{"schema": 1, "sta')
    with pytest.raises(CapsbenchError, match=r"result\.json is damaged .* run again to make it anew"):
        folder.result()
    (tmp_path / "result.json").write_text('{"schema": 2}')
    with pytest.raises(CapsbenchError, match="not a result of this version"):
        folder.result()


def test_progress_is_empty_when_there_is_none_or_half_of_it(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.progress() == {}
    (tmp_path / "progress.json").write_text('{"step": 1')
    assert folder.progress() == {}
    (tmp_path / "progress.json").write_text('{"step": 1, "steps": 2}')
    assert folder.progress() == {"step": 1, "steps": 2}


def test_find_runs_passes_over_other_things(root):
    wanted = [root / "quick" / "cnn_12345678" / f"seed0{seed}" for seed in (0, 1)]
    other = root / "table1" / "capsnet_abcdef01" / "seed00"
    for path in (*wanted, other, root / "quick" / "notes", root / ".multirun" / "x" / "seed00"):
        path.mkdir(parents=True)
    (root / "quick" / "cnn_12345678" / "seed09").write_text("a file")
    assert [run.path for run in find_runs(root, "quick")] == wanted
    assert [run.path for run in find_runs(root)] == [*wanted, other]
    assert find_runs(root / "nowhere") == []


def test_a_claim_is_held_by_one(tmp_path):
    with Claim(tmp_path) as claim:
        assert claim.owner()["pid"] == os.getpid()
        with pytest.raises(CapsbenchError, match=f"being worked on by process {os.getpid()} on {socket.gethostname()}"):
            Claim(tmp_path).__enter__()
        assert claim.path.is_dir()
    assert not claim.path.exists()


def test_another_live_process_is_respected(tmp_path):
    """Its claim survives the attempt. The parent of this process certainly lives."""
    beat = held_by(tmp_path, pid=os.getppid())
    with pytest.raises(CapsbenchError, match=f"process {os.getppid()}"):
        Claim(tmp_path).__enter__()
    assert beat.exists()


def test_a_live_process_is_respected_across_processes(tmp_path):
    """The claim that this process holds, seen by a second one."""
    script = (
        "import sys; from pathlib import Path; from capsbench.training.runs import Claim; "
        "Claim(Path(sys.argv[1])).__enter__()"
    )
    with Claim(tmp_path) as claim:
        second = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert second.returncode != 0
        assert f"being worked on by process {os.getpid()}" in second.stderr
        assert claim.owner()["pid"] == os.getpid()


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path):
    held_by(tmp_path, pid=dead_process())
    with Claim(tmp_path) as claim:
        assert claim.owner()["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_by_now_is_not_the_owner(tmp_path):
    """Containers start counting anew: the process killed there may well have had this process's number."""
    held_by(tmp_path, pid=os.getpid(), started=1.0)
    assert Claim(tmp_path).is_stale()
    with Claim(tmp_path) as claim:
        assert claim.owner()["started"] > 1.0


@pytest.mark.parametrize(("age", "stale"), [(5, False), (300, True)])
def test_another_machine_is_judged_by_its_heartbeat(tmp_path, age, stale):
    beat = held_by(tmp_path, host="elsewhere", pid=1)
    then = time.time() - age
    os.utime(beat, (then, then))
    assert Claim(tmp_path).is_stale() is stale


def test_a_claim_that_is_just_being_made_is_not_stale(tmp_path):
    (tmp_path / "claim").mkdir()
    assert not Claim(tmp_path).is_stale()


def test_the_heart_beats(tmp_path, monkeypatch):
    beats = []
    monkeypatch.setattr(runs.os, "utime", beats.append)
    claim = Claim(tmp_path)
    monkeypatch.setattr(claim.stop, "wait", lambda _: len(beats) == 3)
    claim._keep_beating()
    assert beats == [tmp_path / "claim" / "beat"] * 3


def test_a_claim_taken_over_by_another_process_in_between_is_given_back(tmp_path, monkeypatch):
    """Two processes find a claim stale; while this one is about to remove it, the other has made its own."""
    held_by(tmp_path, pid=dead_process())
    slow = Claim(tmp_path)
    bury = slow._bury

    def bury_late():
        (tmp_path / "claim" / "beat").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid()}))
        bury()

    monkeypatch.setattr(slow, "_bury", bury_late)
    with pytest.raises(CapsbenchError, match=f"process {os.getppid()}"):
        slow.__enter__()
    assert json.loads((tmp_path / "claim" / "beat").read_text())["pid"] == os.getppid()
    assert [item.name for item in tmp_path.iterdir()] == ["claim"]


def test_leaving_does_not_remove_what_another_process_has_taken_over(tmp_path):
    """After a laptop's long sleep, say."""
    with Claim(tmp_path) as claim:
        claim.beat.write_text(json.dumps({"host": "elsewhere", "pid": 7}))
    assert claim.owner() == {"host": "elsewhere", "pid": 7}


def test_an_error_gives_the_claim_up(tmp_path):
    with pytest.raises(RuntimeError, match="boom"), Claim(tmp_path):
        raise RuntimeError("boom")
    assert not (tmp_path / "claim").exists()


@pytest.mark.parametrize("buried", [True, False], ids=["whole", "half removed"])
def test_what_a_process_left_that_was_killed_while_it_buried_a_claim_is_removed(tmp_path, buried):
    grave = tmp_path / ".claim.0123abcd"
    held_by(tmp_path, pid=dead_process(), started=0.0).parent.rename(grave)
    if not buried:
        (grave / "beat").unlink()
    with Claim(tmp_path):
        assert not grave.exists()


def test_a_living_claim_that_another_process_is_about_to_put_back_is_left_alone(tmp_path):
    grave = tmp_path / ".claim.0123abcd"
    with Claim(tmp_path) as living:
        living.path.rename(grave)
        with Claim(tmp_path):
            assert grave.exists()
