"""Promise: a day of a sweep through the real engine, by a clock that jumps: 3,600 runs, dead workers, time limits.

What is real: the ledger, the queue, workers, signs of life, taking over, time limits, outcomes, relaunching. What is
not: the clock, the machines that workers say they are on, and the runs, which last as long as the test has decided.
"""

import json
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from capsbench.studies import children, crew, heartbeat, queue, worker
from capsbench.studies.children import Children
from capsbench.studies.ledger import KEY
from capsbench.studies.spec import Spec
from capsbench.training.identity import evaluation_digest
from capsbench.training.runs import run_folder, run_record
from studies.virtual_time import VirtualTime

ARMS, SEEDS, WORKERS = 4, 900, 4
HEARTBEAT, GRACE, MINUTES, POLL = 10.0, 60.0, 10.0, 5.0
HOUR = 3600.0
ALWAYS_KILLS = 500


class Killed(BaseException):
    """The worker is killed: what it had left to say is not said."""


@dataclass
class Day:
    """What happens to runs, and what did happen.

    Attributes:
        clock: the time.
        starts: starts of every run, which goes by a number.
        ends: ends of every run that came to one.
        deaths: when each run took its worker along.
        told: runs that were told to stop.
        workers: name of the worker that a thread is.
    """

    clock: VirtualTime
    starts: Counter[int] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)
    deaths: dict[int, list[float]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    workers: dict[int, dict[str, object]] = field(default_factory=dict)

    @staticmethod
    def is_endless(number: int) -> bool:
        return number % 100 == 7

    @staticmethod
    def is_deadly(number: int) -> bool:
        """Whether a run takes its worker along when it is first tried."""
        return number % 50 == 13

    @staticmethod
    def seconds(number: int) -> float:
        return 50 + number % 101

    def work(self, spec: Spec, index: int) -> None:
        """Be a worker on a machine of its own."""
        name = {"host": f"machine{len(self.workers)}", "boot": "today", "pid": 1, "started": 0.0, "ticks": 1}
        self.workers[threading.get_ident()] = name
        one = worker.Worker(spec, index)
        one.runner.children = DayChildren(self)
        one.work()

    def launch(self, spec: Spec, workers: int, *_: object) -> BaseException | None:
        """As many workers as Hydra's launcher would start; returns what killed one."""
        threads = [self.clock.Thread(target=self.work, args=(spec, index), daemon=True) for index in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [thread.error for thread in threads if thread.error is not None]
        assert all(isinstance(error, Killed) for error in errors), errors
        return errors[0] if errors else None


class DayChildren(Children):
    """Starts runs of the day instead of processes."""

    def __init__(self, day: Day) -> None:
        self.day, self.should_stop = day, lambda: False

    def close(self) -> None:
        """There is no zygote."""

    def run(self, cfg, overrides, log, variables, seconds):
        day, number = self.day, number_of(cfg.run.arm, cfg.seed)
        day.starts[number] += 1
        deadly, begun = number == ALWAYS_KILLS or (day.is_deadly(number) and day.starts[number] == 1), day.clock.now

        def poll(wait):
            day.clock.sleep(wait)
            if number in day.told:
                return -signal.SIGTERM
            if day.is_endless(number) or day.clock.now - begun < day.seconds(number):
                return None
            if deadly:
                day.deaths.setdefault(number, []).append(day.clock.now)
                raise Killed
            write_result(cfg)
            day.ends[number] += 1
            return 0

        return self._watch(number, poll, seconds)


def number_of(arm: str, seed: int) -> int:
    return ARMS * seed + int(arm.removeprefix("arm"))


def write_result(cfg) -> None:
    result = {"schema": 1, "state": "done", "run": run_record(cfg), "metrics": {"test/errors": 1.0},
              "evaluation": evaluation_digest(cfg)}  # fmt: skip
    path = run_folder(cfg).path
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(result))


@pytest.fixture
def day(monkeypatch):
    clock = VirtualTime(1_800_000_000.0)
    day, stop = Day(clock), clock.Event()
    for module in (queue, children, crew, heartbeat):
        monkeypatch.setattr(module, "time", clock)
    for module in (crew, heartbeat, worker):
        monkeypatch.setattr(module, "STOP", stop)
    monkeypatch.setattr(heartbeat, "threading", SimpleNamespace(Event=clock.Event, Thread=clock.Thread))
    monkeypatch.setattr("optuna.storages._in_memory.datetime", clock.datetime())
    monkeypatch.setattr(children, "POLL", POLL)
    monkeypatch.setattr(children, "_kill_group", lambda number, _: day.told.add(number) or True)
    monkeypatch.setattr(crew, "launch", day.launch)
    monkeypatch.setattr(worker, "this_process", lambda: day.workers[threading.get_ident()])
    return day


@pytest.mark.slow
def test_a_day_of_runs_ends_with_every_run_done_once_or_failed_with_its_reason(day, tmp_path, monkeypatch, caplog):
    arms = {f"arm{n}": ("model=cnn_small", f"run.arm=arm{n}", f"run.root={tmp_path}") for n in range(ARMS)}
    spec = Spec(
        kind="ablation", folder=str(tmp_path), storage="", study="day", session="today", program="", isolation="fork",
        sweeper={}, cwd="", arms=arms, objectives={"test/errors": "minimize"}, minutes=MINUTES, heartbeat=HEARTBEAT,
        grace=GRACE,
    )  # fmt: skip
    storage, beats = optuna.storages.InMemoryStorage(), {}
    study = optuna.create_study(study_name="day", storage=storage)
    monkeypatch.setattr(worker, "open_study", lambda *_: optuna.load_study(study_name="day", storage=storage))
    write = storage.set_trial_user_attr

    def note_beats(trial_id, name, value):
        if name == queue.BEAT:
            beats.setdefault(trial_id, []).append(value)
        write(trial_id, name, value)

    monkeypatch.setattr(storage, "set_trial_user_attr", note_beats)
    for seed in range(SEEDS):
        for arm in arms:
            study.enqueue_trial({}, user_attrs={KEY: f"{arm}/{seed}", queue.ARM: arm, queue.SEED: seed})

    begun = day.clock.now
    crew.work_off(study, spec, WORKERS, None, None)
    assert day.clock.now - begun > 24 * HOUR

    every = range(ARMS * SEEDS)
    endless = {number for number in every if day.is_endless(number)}
    deadly = {number for number in every if day.is_deadly(number)}
    assert day.ends == Counter(set(every) - endless - {ALWAYS_KILLS})
    assert day.starts == Counter(every) + Counter(deadly) + Counter({ALWAYS_KILLS: spec.max_retries})
    assert day.told == endless
    assert "taken away" not in caplog.text

    trials = study.get_trials()
    assert all(trial.state.is_finished() for trial in trials)
    assert sum(trial.state is TrialState.COMPLETE for trial in trials) == len(day.ends)
    failed = {number(trial): trial.user_attrs[queue.ERROR] for trial in trials if queue.ERROR in trial.user_attrs}
    assert {at for at, error in failed.items() if error == "stopped after its time limit of 10 minutes"} == endless
    assert failed.keys() - endless == {ALWAYS_KILLS}
    assert failed[ALWAYS_KILLS].endswith("was lost with it, 3 times")

    for trial in trials:
        times = [trial.datetime_start.timestamp(), *beats[trial._trial_id]]
        assert max(after - before for before, after in pairwise(times)) <= 2 * HEARTBEAT + 1
    lost = [trial for trial in trials if trial.state is TrialState.FAIL and not day.is_endless(number(trial))]
    silences = [trial.datetime_complete.timestamp() - beats[trial._trial_id][-1] for trial in lost]
    assert len(silences) == sum(map(len, day.deaths.values())) == len(deadly) + 1 + spec.max_retries
    # Found out by the next worker that is through with its own run, which takes ten minutes at most.
    assert min(silences) >= GRACE
    assert max(silences) <= GRACE + 60 * MINUTES + POLL


def number(trial: optuna.trial.FrozenTrial) -> int:
    return number_of(trial.user_attrs[queue.ARM], trial.user_attrs[queue.SEED])
