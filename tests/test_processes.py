"""A process is known by more than its number, and knows when whoever started it is gone."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from capsbench import processes
from capsbench.processes import is_gone, is_here, this_process


@pytest.fixture
def child():
    """A process that lives until the test has ended, and its name as it would give it itself."""
    script = "import json, sys; from capsbench.processes import this_process; print(json.dumps(this_process())); "
    command = [sys.executable, "-c", script + "sys.stdout.flush(); sys.stdin.read()"]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield running, json.loads(running.stdout.readline())
    running.communicate()


def test_a_living_process_is_there_and_a_dead_one_is_gone(child):
    running, name = child
    assert is_here(name)
    assert not is_gone(name)
    running.kill()
    psutil.wait_procs([psutil.Process(running.pid)], timeout=10)
    assert is_gone(name)


def test_a_dead_process_nobody_has_asked_after_yet_is_gone(child):
    running, name = child
    running.kill()
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    assert is_gone(name)


def test_a_clock_that_is_set_kills_nobody(child, monkeypatch):
    """psutil counts a start by the clock; in a virtual machine that was paused it then jumps by that long."""
    _, name = child
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: real(process) + 3600)
    assert not is_gone(name)


def test_another_process_with_the_same_number_is_another(child):
    _, name = child
    assert is_gone({**name, "ticks": name["ticks"] - 1})
    assert is_gone({"host": name["host"], "pid": name["pid"], "started": name["started"] - 100})
    assert not is_gone({"host": name["host"], "pid": name["pid"], "started": name["started"] - 1})


def test_of_another_machine_nothing_is_said_though_it_has_the_same_name():
    me = this_process()
    twin = {**me, "boot": "another start of a machine", "ticks": 1}
    assert is_here(me)
    assert not is_here(twin)
    assert not is_gone(twin)
    assert not is_gone({**me, "host": "elsewhere", "ticks": 1})
    assert not is_gone({})


def test_a_name_that_means_nothing_is_of_nobody_here():
    assert is_gone({"host": this_process()["host"], "pid": "no number"})


def test_a_child_whose_parent_was_killed_before_it_could_ask_for_its_own_end_ends():
    """Between fork and prctl nothing would tell it, and it would go on as an orphan."""
    script = "from capsbench.processes import die_with_parent; die_with_parent({}); print('goes on')"
    commands = [[sys.executable, "-c", script.format(parent)] for parent in (os.getppid(), os.getpid())]
    orphan, kept = (subprocess.run(command, capture_output=True, text=True, check=False) for command in commands)
    assert (orphan.returncode, orphan.stdout) == (1, "")
    assert (kept.returncode, kept.stdout) == (0, "goes on\n")


def test_a_forked_child_gives_its_own_name(tmp_path):
    this_process()
    pid = os.fork()
    if pid == 0:
        (tmp_path / "pid").write_text(str(processes.this_process()["pid"]))
        os._exit(0)
    os.waitpid(pid, 0)
    assert (tmp_path / "pid").read_text() == str(pid)
