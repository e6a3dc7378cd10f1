"""A search runs up to its total, however often it is stopped, and draws what Optuna would draw."""

import json
import math
import signal

import optuna
import pytest

from capsbench.storage import open_storage
from capsbench.studies import queue
from studies.sweeping import SEARCH


def trials(folder, study="mine"):
    storage = open_storage(f"journal:{folder.path}/runs/mine/study.journal")
    return optuna.load_study(study_name=study, storage=storage).trials


def states(folder):
    return [trial.state.name for trial in trials(folder)]


def test_the_total_is_a_total_and_the_draws_are_optunas(search):
    output = search.run("", "--trials", "7")
    assert states(search) == ["COMPLETE"] * 7
    assert "7 trials, 0 of them there already; sampler tpe" in output
    plain = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=3, n_startup_trials=4, group=True))
    for mine in trials(search):
        trial = plain.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        decay = trial.suggest_float("optimizer.decay", 0.5, 1.0)
        assert mine.params == {"optimizer.lr": lr, "optimizer.decay": decay}
        loss = (math.log10(lr) + 2.5) ** 2 + 4 * (decay - 0.9) ** 2
        assert mine.value == pytest.approx(loss)
        plain.tell(trial, mine.value)
    output = search.run("", "--trials", "9")
    assert states(search) == ["COMPLETE"] * 9
    assert search.executions("end") == {"trial/0": 9}
    assert "9 trials, 7 of them there already" in output
    found = json.loads((search.path / "runs/mine/search.json").read_text())
    assert found["complete"] == 9
    best = min(trials(search), key=lambda trial: trial.value)
    assert found["best"][0]["params"] == best.params
    assert f"trial {best.number}: val/loss" in output
    assert set(found["importance"]["val/loss"]) == {"optimizer.lr", "optimizer.decay"}


@pytest.mark.slow
def test_a_search_stopped_again_and_again_ends_with_the_exact_total(search):
    for stop in range(10):
        sweeper = search.start("seconds=0.2", "--workers", "2" if stop % 5 == 1 else "1")
        before = sum(search.executions("end").values())
        search.wait_for(
            lambda before=before, sweeper=sweeper: (
                sum(search.executions("end").values()) > before or sweeper.poll() is not None
            )
        )
        sweeper.send_signal(signal.SIGKILL if stop % 3 else signal.SIGTERM)
        search.end(sweeper, status=None)
        search.wait_for(lambda: not search.processes())
    search.run()
    assert states(search).count("COMPLETE") == 12
    values = [trial.params["optimizer.lr"] for trial in trials(search) if trial.state.name == "COMPLETE"]
    assert len(set(values)) == 12
    assert search.executions("end") == {"trial/0": 12}


def test_two_sweepers_share_one_search_and_end_with_its_total(search):
    sweepers = [search.start("seconds=0.2"), search.start("seconds=0.2")]
    for sweeper in sweepers:
        search.end(sweeper)
    ended = [trial for trial in trials(search) if trial.state.name == "COMPLETE"]
    assert len(ended) == 12
    assert search.executions("end") == search.executions("start") == {"trial/0": 12}
    assert len({json.dumps(trial.params) for trial in ended}) == 12
    assert len({trial.user_attrs[queue.WORKER]["session"] for trial in ended}) == 2


def test_a_changed_space_is_refused_with_a_way_out(search):
    search.run("", "--trials", "1")
    search.write(SEARCH.replace("interval(0.5, 1.0)", "interval(0.6, 1.0)"))
    output = search.run("", status=2)
    assert "space of optimizer.decay" in output
    assert "--study mine-2" in output
    search.run("", "--trials", "1", "--study", "mine-2")
    assert search.path.joinpath("runs/mine-2/search.json").exists()
    assert len(trials(search)) == 1


def test_failures_are_replaced_until_there_are_too_many(search):
    output = search.run("raise=trial/0", "--max-failures", "2", status=1)
    assert states(search) == ["FAIL"] * 3
    assert "more than 2 runs failed" in output
    assert "failed: asked to fail" in output


def test_objectives_constraints_conditions_baselines_and_seeds(search):
    search.write(
        """
kind: search
base: [model=cnn_small]
params:
  optimizer.schedule: choice(constant, exponential)
  optimizer.decay: {space: "range(0.5, 1.0, 0.1)", when: {optimizer.schedule: exponential}}
  optimizer.lr: tag(log, interval(1e-4, 1e-1))
objectives: {val/loss: minimize, cost/parameters: minimize}
constraints: {val/loss: 2.0}
enqueue: [{optimizer.lr: 0.01, optimizer.schedule: constant}]
seeds: [0, 4]
trials: 6
"""
    )
    output = search.run()
    assert "6 trials, 0 of them there already; sampler tpe" in output
    first, *_ = found = trials(search)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 6
    assert first.params == {"optimizer.schedule": "constant", "optimizer.lr": 0.01}
    for trial in found:
        assert ("optimizer.decay" in trial.params) == (trial.params["optimizer.schedule"] == "exponential")
        decay = trial.params.get("optimizer.decay", 0.96)
        loss = (math.log10(trial.params["optimizer.lr"]) + 2.5) ** 2 + 4 * (decay - 0.9) ** 2 + 0.002
        assert trial.values[0] == pytest.approx(loss)
        assert trial.constraints == {"val/loss": pytest.approx(loss - 2)}
    assert search.executions("end") == {"trial/0": 6, "trial/4": 6}
    assert "Pareto front" in output


@pytest.mark.slow
def test_brute_force_ends_when_everything_was_tried(search):
    search.write(
        """
kind: search
base: [model=cnn_small]
params: {optimizer.decay: "choice(0.7, 0.8, 0.9)", optimizer.lr: "choice(0.001, 0.01)"}
sampler: brute
trials: 100
"""
    )
    output = search.run("seconds=0.05", "--workers", "2")
    assert states(search).count("COMPLETE") == 6
    assert len({tuple(trial.params.values()) for trial in trials(search) if trial.value is not None}) == 6
    assert "6 trials, 0 of them there already; sampler brute" in output
