"""`capsbench doctor`: what it finds here, what it says where something is amiss, and that it tells no secret."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from capsbench import cli
from capsbench.completion import candidates
from capsbench.config import Data, WandbMode
from capsbench.doctor import arithmetic, installation, machine, services
from capsbench.doctor.finding import Finding, Health, as_json, as_text, examined, has_problems, ok, problem, warning
from capsbench.errors import CapsbenchError

SECRET = "marker-5e3c"


def capsbench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "capsbench", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def quick(monkeypatch):
    """Without the two looks that start PyTorch in a process of their own."""
    monkeypatch.setattr(arithmetic, "devices", lambda: ok("cpu", "looked at elsewhere"))
    monkeypatch.setattr(arithmetic, "compiling", lambda: ok("compile", "looked at elsewhere"))


def doctor(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["capsbench", "doctor", *arguments])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    return int(leaving.value.code or 0)


@pytest.mark.slow
def test_the_whole_examination_of_this_installation(tmp_path):
    """Nothing patched: devices, compiling, locks, data. It says what to do, and leaves nothing behind."""
    done = capsbench("doctor", f"run.root={tmp_path / 'runs'}", "--json", CAPSBENCH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert {"capsbench", "python", "cpu", "cpu precision", "compile", "runs", "journal", "data", "W&B"} <= set(found)
    assert "multiplies in fp32, bf16, fp16" in found["cpu precision"]["detail"]
    compiles = shutil.which("g++") is not None or shutil.which("clang++") is not None
    assert found["compile"]["health"] == ("ok" if compiles else "warning")
    assert "all files are the published ones" in found["data"]["detail"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("quick")
def test_text_and_json_say_the_same_and_nothing_is_left_behind(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert doctor(monkeypatch) == 0
    text = capsys.readouterr().out
    assert doctor(monkeypatch, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["schema"] == 1
    for each in values["findings"]:
        # Free memory and disk space move between the two.
        assert re.search(rf"^{each['health']} +{re.escape(each['name'])}  ", text, re.MULTILINE)
    assert text.rstrip().splitlines()[-1].endswith("`capsbench sweep quick`.") or "should work here" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_problems_give_status_1_and_an_advice(monkeypatch, capsys, tmp_path):
    assert doctor(monkeypatch, f"run.root={tmp_path / 'runs'}", f"data.root={tmp_path}") == 1
    text = capsys.readouterr().out
    assert re.search(rf"^problem +data +.*data.root={tmp_path} lacks 4 of 4 files", text, re.MULTILINE)
    assert re.search(r"^1 problem.*What to do:$", text, re.MULTILINE)
    assert "missing: train-images-idx3-ubyte" in text
    monkeypatch.setattr(services, "tracking", lambda _: 1 / 0)
    assert doctor(monkeypatch, f"run.root={tmp_path / 'runs'}") == 1
    assert re.search(r"^problem +W&B +ZeroDivisionError", capsys.readouterr().out, re.MULTILINE)


def test_help_and_completion_know_it(monkeypatch, capsys):
    assert doctor(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert "--storage" in text
    assert candidates("capsbench doc") == ["doctor"]
    assert "data.root=" in candidates("capsbench doctor data.ro")


def test_a_mistake_in_an_override_is_status_2(monkeypatch, capsys):
    assert doctor(monkeypatch, "data.rot=x") == 2
    assert "did you mean data.root" in capsys.readouterr().err


def test_what_to_do_comes_last_and_problems_first():
    findings = [ok("a", "fine"), warning("b", "slow", "mend b"), problem("c", "broken", "mend c")]
    text = as_text(findings)
    assert text.splitlines()[-3:] == ["1 problem, 1 warning. What to do:", "  c: mend c", "  b: mend b"]
    assert has_problems(findings)
    assert not has_problems(findings[:2])
    assert as_text(findings[:1]).endswith("Nothing to do: `capsbench sweep quick` should work here.")
    assert [each["health"] for each in json.loads(as_json(findings))["findings"]] == ["ok", "warning", "problem"]


def test_a_look_that_breaks_is_a_finding():
    def mistake():
        raise CapsbenchError("data.root=x: nothing there\nput it there")

    def bug():
        raise RuntimeError("driver\nlong story")

    assert examined("data", mistake) == [problem("data", "data.root=x: nothing there", "put it there")]
    assert examined("gpu", bug)[0].detail == "RuntimeError: driver"


def test_nothing_secret_is_shown(monkeypatch):
    home = str(Path.home())
    key = "0123456789abcdef" * 2 + "01234567"
    text = f"postgresql://me:{SECRET}@host/db: {home}/runs and {home}-other; login failed for {key}"
    shown = examined("x", lambda: problem("x", text, text))[0]
    for part in (shown.detail, shown.advice):
        assert SECRET not in part
        assert key not in part
        assert "~/runs and" in part
        assert f"{home}-other" in part or home == "/"


@pytest.mark.usefixtures("quick")
def test_a_password_in_the_storage_is_refused_without_being_repeated(monkeypatch, capsys, tmp_path):
    for name in ("PGPASSWORD", "WANDB_API_KEY"):
        monkeypatch.setenv(name, SECRET * 5)
    url = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/db"
    assert doctor(monkeypatch, f"run.root={tmp_path}", "--storage", url) == 1
    shown = capsys.readouterr()
    assert "the address holds a password" in shown.out
    assert SECRET not in shown.out + shown.err


def test_a_database_that_does_not_answer_is_a_problem():
    pytest.importorskip("psycopg")
    found = services.database("postgresql+psycopg://me@127.0.0.1:9/db")
    assert found.health is Health.problem
    assert "cannot be opened" in found.detail


def test_a_database_that_answers_is_left_as_it_is(tmp_path):
    pytest.importorskip("sqlalchemy")
    found = services.database(f"sqlite:///{tmp_path / 'study.db'}")
    assert found.health is Health.ok
    assert (tmp_path / "study.db").stat().st_size == 0
    assert services.database("journal:x").health is Health.ok


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    """A PATH without g++ and clang++: the child really tries, and really fails."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(arithmetic, "_child", lambda *_: {"error": "InvalidCxxCompiler: no compiler"})
    found = arithmetic.compiling()
    assert found.health is Health.warning
    assert "the C++ compiler is missing" in found.detail
    assert "install g++" in found.advice


def test_a_child_that_hangs_dies_or_says_nothing_is_told_of(monkeypatch):
    assert "no answer within" in arithmetic._child("devices", 0.05)["error"]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert arithmetic._child("devices", 60) == {"error": "exit status 1"}
    assert [each.health for each in arithmetic.devices()] == [Health.problem]


def test_a_precision_that_does_not_work_and_a_gpu_that_nobody_uses(monkeypatch):
    cpu = {"name": "cpu", "about": "one", "precisions": {"fp32": "", "bf16": "no kernel"}, "auto": "32-true"}
    answer = {"devices": [cpu], "unused": "an NVIDIA device is here (nvidia0)", "torch": "2.13.0+cpu"}
    monkeypatch.setattr(arithmetic, "_child", lambda *_: answer)
    found = {each.name: each for each in arithmetic.devices()}
    assert found["cpu precision"].health is Health.problem
    assert "bf16: no kernel" in found["cpu precision"].detail
    assert found["accelerator"].health is Health.warning


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    found = list(machine.runs_folder(tmp_path / "file" / "runs"))
    assert [each.health for each in found] == [Health.problem]
    assert "run.root" in found[0].advice


def test_a_file_system_without_locks_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "TRY_LOCK", "")
    found = {each.name: each for each in machine.runs_folder(tmp_path / "runs")}
    assert found["runs"].health is Health.ok
    assert found["journal"].health is Health.problem
    assert "postgresql" in found["journal"].advice


@pytest.mark.parametrize(
    ("free", "health"), [(machine.NO_DISK - 1, "problem"), (machine.LITTLE_DISK - 1, "warning"), (1 << 40, "ok")]
)
def test_disk_space(monkeypatch, tmp_path, free, health):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 41, 0, free))
    assert machine.disk_space("disk", tmp_path).health == health


def test_limits_of_control_groups(tmp_path, monkeypatch):
    """As a container and a SLURM job have them: the tightest of the nested groups counts."""
    inner = tmp_path / "system.slice" / "job_1"
    inner.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/system.slice/job_1\n")
    monkeypatch.setattr(machine, "OWN_GROUP", tmp_path / "own")
    assert machine.granted_cores(tmp_path) is None
    assert machine.granted_memory(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (inner / "cpu.max").write_text("50000 100000\n")
    (inner.parent / "memory.max").write_text("1000000\n")
    (inner.parent / "memory.current").write_text("400000\n")
    assert machine.granted_cores(tmp_path) == 0.5
    assert machine.granted_memory(tmp_path) == 600_000
    assert machine.processors(tmp_path).health is Health.warning
    assert "trainer.threads=1" in machine.processors(tmp_path).advice
    assert machine.memory(tmp_path).health is Health.warning


def test_versions_outside_their_ranges_are_a_problem(monkeypatch):
    real = installation._version
    monkeypatch.setattr(installation, "_version", lambda name: "0.1" if name == "optuna" else real(name))
    found = {each.name: each for each in installation.packages()}
    assert found["requirements"].health is Health.problem
    assert "optuna 0.1 (needs" in found["requirements"].detail
    monkeypatch.setattr(installation, "_version", lambda name: None if name == "scipy" else real(name))
    assert "scipy is missing" in {each.name: each for each in installation.packages()}["requirements"].detail


def test_this_installation_is_within_its_ranges():
    assert all(each.health is Health.ok for each in installation.packages())
    assert installation.python().health is Health.ok


@pytest.mark.parametrize(
    ("mode", "credentials", "unreachable", "health", "words"),
    [
        (WandbMode.disabled, False, "", "ok", "disabled"),
        (WandbMode.offline, False, "never asked", "ok", "nothing is sent, no server needed"),
        (WandbMode.offline, True, "no route", "ok", "`capsbench sync` now: no route"),
        (WandbMode.online, True, "no route", "warning", "online, but no route"),
        (WandbMode.online, True, "", "ok", "the server answers"),
    ],
)
def test_wandb_modes(monkeypatch, mode, credentials, unreachable, health, words):
    from capsbench.training import wandb_session

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb_session, "has_credentials", lambda: credentials)
    monkeypatch.setattr(wandb_session, "unreachable", lambda: unreachable)
    found = services.tracking(mode)
    assert (found.health, words in found.detail) == (health, True)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "disabled" in services.tracking(mode).detail


def test_files_of_ones_own_are_a_warning(monkeypatch):
    from capsbench.data import commands

    monkeypatch.setattr(commands, "verify", lambda _: "mnist: x\n  a: b\nreadable, but not the published files\nmore")
    found = services.data(Data())
    assert isinstance(found, Finding)
    assert found.health is Health.warning
    assert "capsbench data verify mnist" in found.advice
