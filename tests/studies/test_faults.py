"""Whatever is killed, the same command finishes the sweep: nothing twice, nothing lost, no process left behind."""

import json
import signal

import pytest

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


@pytest.mark.parametrize("isolation", ["fork", "process"])
def test_a_killed_sweeper_takes_its_processes_along_and_is_resumed(ablation, isolation):
    sweeper = ablation.start("seconds=1 steps=8", "--isolation", isolation)
    ablation.wait_for(lambda: bool(ablation.executions("from 0")))
    ablation.wait_for(lambda: any(ablation.path.glob("runs/mine/*/seed00/last.ckpt")))
    ablation.kill(sweeper)
    ablation.wait_for(lambda: not ablation.processes())
    assert not ablation.executions("end")
    ablation.run("seconds=0.05 steps=8", "--isolation", isolation)
    assert done_once(ablation)
    assert ablation.executions("start")["a/0"] == 2
    assert ablation.executions("from 0")["a/0"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(ablation, number):
    sweeper = ablation.start("seconds=2 steps=8")
    ablation.wait_for(lambda: any(ablation.path.glob("runs/mine/*/seed00/last.ckpt")))
    sweeper.send_signal(number)
    output = ablation.end(sweeper, status=130)
    assert "the same command goes on from here" in output
    assert not ablation.processes()
    ablation.run("seconds=0.05 steps=8")
    assert done_once(ablation)
    assert ablation.executions("from 0")["a/0"] == 1


def test_a_killed_zygote_is_replaced(ablation):
    sweeper = ablation.start("seconds=0.6 steps=8")
    ablation.wait_for(lambda: any(ablation.path.glob("runs/mine/*/seed00/last.ckpt")))
    ablation.children(sweeper, "studies.zygote")[0].kill()
    ablation.end(sweeper)
    assert done_once(ablation)
    assert ablation.executions("from 0")["a/0"] == 1


def test_a_killed_worker_is_replaced(ablation):
    sweeper = ablation.start("seconds=0.5 steps=8", "--workers", "2")
    ablation.wait_for(lambda: sum(ablation.executions("start").values()) >= 2)
    workers = [p for p in ablation.children(sweeper, "loky") if p.children()]
    workers[0].kill()
    ablation.end(sweeper)
    assert done_once(ablation)
    ablation.wait_for(lambda: not ablation.processes())


def test_a_run_over_its_time_limit_fails_even_if_it_does_not_listen(ablation, monkeypatch):
    output = ablation.run("seconds=0.01", "--minutes", "0.1")
    assert done_once(ablation)
    ablation.write(
        (ablation.path / "mine.yaml").read_text() + "  c: {overrides: [model=cnn_small, optimizer.lr=0.003]}\n"
    )
    output = ablation.run("seconds=60", "--minutes", "0.01", status=1)
    assert "c seed 0: failed: stopped after its time limit of 0.01 minutes" in output
    assert set(ablation.executions("end")) == RUNS
    failure = next(ablation.path.glob("runs/mine/c_*/seed00/failed.json"))
    assert json.loads(failure.read_text())["run"]["arm"] == "c"


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
