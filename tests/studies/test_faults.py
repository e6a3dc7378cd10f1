"""Whatever is killed, the same command finishes the sweep: nothing twice, nothing lost, no process left behind."""

import json
import signal

import psutil
import pytest

from capsbench.compose import compose
from capsbench.studies.children import Children
from capsbench.training.runs import Claim
from studies.fake_program import write_result
from studies.sweeping import PYTHONPATH

RUNS = {f"{arm}/{seed}" for arm in "ab" for seed in range(3)}


def done_once(folder):
    ends = folder.executions("end")
    return set(ends) == RUNS and set(ends.values()) == {1}


def test_every_run_once_and_a_second_start_does_nothing(ablation):
    output = ablation.run()
    assert done_once(ablation)
    assert output.count("test error 10.00%") == 6
    assert "6/6" in output
    assert "all 6 runs are there already" in ablation.run()
    assert done_once(ablation)
    assert not ablation.processes()


def test_a_failed_run_does_not_stop_the_others_and_is_tried_again_only_when_asked(ablation):
    output = ablation.run("raise=b/1", status=1)
    assert "b seed 1: failed: asked to fail" in output
    assert set(ablation.executions("end")) == RUNS - {"b/1"}
    ablation.run("", status=1)
    assert ablation.executions("start")["b/1"] == 1
    ablation.run("", "--retry-failed")
    assert done_once(ablation)


def test_a_killed_run_goes_on_from_its_checkpoint(ablation):
    output = ablation.run("seconds=0.1 steps=4 kill=a/1")
    assert done_once(ablation)
    assert ablation.executions("start")["a/1"] == 2
    assert ablation.executions("from 2") == {"a/1": 1}
    assert "a seed 1: its process was lost" in output


def test_a_run_that_is_killed_again_and_again_fails_in_the_end(ablation):
    output = ablation.run("kill=a/1", "hydra.sweeper.max_retries=0", status=1)
    assert "a seed 1: failed: its process was killed by signal 9, 1 times" in output
    assert set(ablation.executions("end")) == RUNS - {"a/1"}


@pytest.mark.parametrize("isolation", ["fork", pytest.param("process", marks=pytest.mark.slow)])
def test_a_killed_sweeper_takes_its_processes_along_and_is_resumed(ablation, isolation):
    sweeper = ablation.start("steps=8 hold=1", "--isolation", isolation)
    ablation.wait_for(lambda: any(ablation.path.glob("runs/mine/*/seed00/last.ckpt")))
    ablation.kill(sweeper)
    ablation.wait_for(lambda: not ablation.processes())
    assert not ablation.executions("end")
    ablation.run("steps=8", "--isolation", isolation)
    assert done_once(ablation)
    assert ablation.executions("start")["a/0"] == 2
    assert ablation.executions("from 0")["a/0"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(ablation, number):
    sweeper = ablation.start("steps=8 hold=1")
    ablation.wait_for(lambda: any(ablation.path.glob("runs/mine/*/seed00/last.ckpt")))
    sweeper.send_signal(number)
    output = ablation.end(sweeper, status=130)
    assert "the same command goes on from here" in output
    assert not ablation.processes()
    ablation.run("steps=8")
    assert done_once(ablation)
    assert ablation.executions("from 0")["a/0"] == 1


@pytest.mark.slow
def test_a_killed_zygote_is_replaced(ablation):
    sweeper = ablation.start("steps=8 hold=1")
    ablation.wait_for(lambda: any(ablation.path.glob("runs/mine/*/seed00/last.ckpt")))
    ablation.children(sweeper, "studies.zygote")[0].kill()
    ablation.wait_for(lambda: sum(ablation.executions("start").values()) == 2)
    ablation.go()
    ablation.end(sweeper)
    assert done_once(ablation)
    assert ablation.executions("from 0")["a/0"] == 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced(ablation):
    sweeper = ablation.start("steps=8 hold=1", "--workers", "2")
    ablation.wait_for_held(2, 40)
    workers = [p for p in ablation.children(sweeper, "loky") if p.children()]
    theirs = [process for worker in workers for process in worker.children(recursive=True)]
    assert len(workers) == 2
    assert len(theirs) == 4  # a zygote and a run each
    workers[0].kill()
    # loky ends its sibling, too. What was theirs is gone before others hold their own runs, which come first now.
    ablation.wait_for_held(4, 40)
    assert not any(process.is_running() for process in theirs)
    ablation.go()
    ablation.end(sweeper)
    assert done_once(ablation)
    ablation.wait_for(lambda: not ablation.processes())


def the_run_of_a(ablation):
    """Its folder, and its configuration but for the folder."""
    (folder,) = ablation.path.glob("runs/mine/a_*/seed00")
    return folder, compose(["model=cnn_small", "run.arm=a"])


@pytest.fixture
def pair(ablation):
    """One run for each arm."""
    ablation.write((ablation.path / "mine.yaml").read_text().replace("[0, 1, 2]", "[0]"))
    return ablation


def test_what_another_process_still_works_on_is_waited_for_and_not_done_again(pair):
    """An orphan, say, whose sweep was killed while the kernel had not ended it yet; here this process is one."""
    earlier = pair.start("hold=1")
    pair.wait_for_held(1, 40)
    pair.kill(earlier)
    pair.wait_for(lambda: not pair.processes())
    folder, cfg = the_run_of_a(pair)
    with Claim(folder):
        sweeper = pair.start("", "--workers", "2")
        pair.wait_for(lambda: pair.executions("end")["b/0"] == 1)
        write_result(cfg, folder)
    output = pair.end(sweeper)
    assert pair.executions("start") == {"a/0": 1, "b/0": 1}
    assert pair.executions("end") == {"b/0": 1}
    assert "a seed 0: test error 10.00%" in output


def test_a_run_that_another_process_claims_at_the_last_moment_is_neither_failed_nor_done_again(pair):
    sweeper = pair.start("late=a/0", "hydra.sweeper.max_retries=0")
    pair.wait_for(lambda: pair.executions("come")["a/0"] == 1)
    folder, cfg = the_run_of_a(pair)
    with Claim(folder):
        (pair.path / "runs" / "late").touch()
        pair.wait_for(lambda: "is being worked on by" in (folder / "output.log").read_text())
        write_result(cfg, folder)
    output = pair.end(sweeper)
    assert pair.executions("come") == {"a/0": 1}
    assert pair.executions("end") == pair.executions("start") == {"b/0": 1}
    assert "a seed 0: test error 10.00%" in output
    assert "lost" not in output


def test_a_run_over_its_time_limit_fails_and_the_others_do_not(ablation):
    ablation.write((ablation.path / "mine.yaml").read_text().replace("[0, 1, 2]", "[1]"))
    output = ablation.run("seconds=60", "--minutes", "0.01", status=1)
    assert output.count("seed 1: failed: stopped after its time limit of 0.01 minutes") == 2
    assert ablation.executions("start") == {"a/1": 1, "b/1": 1}
    assert not ablation.executions("end")
    failure = next(ablation.path.glob("runs/mine/b_*/seed01/failed.json"))
    assert json.loads(failure.read_text())["run"]["arm"] == "b"
    ablation.run("", "--minutes", "1", "--retry-failed")
    assert set(ablation.executions("end")) == {"a/1", "b/1"}


@pytest.mark.parametrize("reason", ["late", "stopped"])
def test_a_run_that_does_not_listen_is_killed(tmp_path, monkeypatch, reason):
    monkeypatch.setattr("capsbench.studies.children.PATIENCE", 0.3)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    words = ["model=cnn_small", f"run.root={tmp_path}", "run.notes='seconds=60 ignore_sigterm=1'"]
    begun = tmp_path / "executions"
    log = tmp_path / "log"
    children = Children("studies.fake_program", "fork", log, {}, lambda: reason == "stopped" and begun.exists())
    try:
        cfg = compose(words)
        ending = children.run(cfg, words, log, {}, 2.0 if reason == "late" else None)
    finally:
        children.close()
    assert (ending.status, ending.late, ending.stopped) == (-signal.SIGKILL, reason == "late", reason == "stopped")
    assert begun.read_text().startswith("start")
    assert not psutil.pid_exists(int(begun.read_text().split()[-1]))


def test_two_sweepers_share_one_study(ablation):
    first = ablation.start("seconds=0.3")
    second = ablation.start("seconds=0.3")
    ablation.end(first)
    ablation.end(second)
    assert done_once(ablation)
    assert ablation.executions("start") == ablation.executions("end")


def test_too_many_failures_end_the_sweep(ablation):
    ablation.write((ablation.path / "mine.yaml").read_text().replace("[0, 1, 2]", "[1]"))
    output = ablation.run("raise=a/1", "--max-failures", "0", status=1)
    assert "more than 0 runs failed" in output
    assert not ablation.executions("end")


def test_workers_divide_the_cores(ablation, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ablation.run("seconds=0.1", "--workers", "2", "trainer.threads=64")
    results = [json.loads(path.read_text()) for path in ablation.path.glob("runs/mine/*/*/result.json")]
    assert len(results) == 6
    assert {result["threads"] for result in results} < set(range(1, 64))


def test_workers_divide_the_gpus(ablation, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    ablation.run("seconds=0.3", "--workers", "2")
    results = [json.loads(path.read_text()) for path in ablation.path.glob("runs/mine/*/*/result.json")]
    assert {result["gpu"] for result in results} == {"4", "7"}
