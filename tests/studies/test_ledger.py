"""Two processes see one study alike, whatever keeps it: a run is given out once, and nothing is overlooked."""

import random
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from capsbench.processes import this_process
from capsbench.storage import open_storage
from capsbench.studies import queue
from capsbench.studies.ledger import KEY, Ledger

GONE = {"host": "another-machine", "pid": 1, "started": 0.0}


@pytest.fixture(params=["journal", "sqlite"])
def process(request, tmp_path):
    """Opens the same study as another process does, with a storage and a ledger of its own."""
    place = f"journal:{tmp_path}/study.journal" if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="shared", storage=open_storage(place))

    def ledger():
        sampler = optuna.samplers.RandomSampler(seed=0)
        return Ledger(optuna.load_study(study_name="shared", storage=open_storage(place), sampler=sampler))

    return ledger


def enqueue(ledger, count):
    for number in range(count):
        ledger.study.enqueue_trial({}, user_attrs={KEY: f"run{number}"})


def seen(ledger):
    return (
        [trial.state for trial in ledger.trials],
        set(ledger.running),
        list(ledger.waiting),
        ledger.failed,
        ledger.counted,
        ledger.by_key,
    )


def test_what_was_seen_bit_by_bit_is_what_a_first_look_sees(process):
    dice, watcher, workers = random.Random(0), process(), [process(), process()]
    held = []
    for step in range(40):
        worker = dice.choice(workers)
        what = dice.choice(["enqueue", "take", "take", "ask", "tell", "retry"])
        if what == "enqueue":
            worker.study.enqueue_trial({}, user_attrs={KEY: f"run{step % 4}"})
        elif what == "take" and (taken := queue.take(worker)):
            held.append(taken)
        elif what == "ask":
            held.append(worker.study.ask())
            held[-1].suggest_float("x", 0, 1)
        elif held:
            trial = held.pop(dice.randrange(len(held)))
            state = TrialState.FAIL if what == "retry" else dice.choice([TrialState.COMPLETE, TrialState.PRUNED])
            frozen = worker.look().read(trial.number)
            worker.study.tell(trial.number, 1.0 if state is TrialState.COMPLETE else None, state=state)
            if what == "retry":
                queue.requeue(worker.study, frozen, max_retries=9)
        if step % 4 == 0:
            assert seen(watcher.look()) == seen(process())
    fresh = process()
    assert seen(watcher.look()) == seen(fresh)
    assert len(fresh.failed) > 2
    assert fresh.counted > 2
    ended = [trial.number for trial in fresh.trials if trial.state.is_finished()]
    assert sorted(watcher.ended) == ended
    assert [watcher.older_than(number) for number in range(len(fresh.trials))] == [
        sum(trial.state is not TrialState.FAIL for trial in fresh.trials[:number])
        for number in range(len(fresh.trials))
    ]


def test_two_workers_never_take_the_same_run(process):
    enqueue(process(), 12)

    def work(ledger):
        numbers = []
        while (trial := queue.take(ledger)) is not None:
            numbers.append(trial.number)
            ledger.study.tell(trial, 0.0)
        return numbers

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, [process(), process()])
    assert sorted(first + second) == list(range(12))
    assert first == sorted(first)


def test_a_lost_run_is_queued_again_once_and_comes_last(process):
    starter, reapers = process(), [process(), process()]
    enqueue(starter, 2)
    lost = queue.take(starter)
    lost.set_user_attr(queue.WORKER, GONE)
    lost.set_user_attr(queue.BEAT, 0.0)
    for reaper in reapers:
        reaper.look()
    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(lambda reaper: queue.reap(reaper, grace=60, max_retries=1), reapers))
    assert sorted(map(len, lines)) == [0, 1]
    assert [queue.take(reapers[0]).number, queue.take(reapers[1]).number] == [1, 2]
    again = process().trials[2]
    assert (again.user_attrs[KEY], again.user_attrs[queue.RETRY_OF], again.user_attrs[queue.TRIES]) == ("run0", 0, 1)
    assert queue.older_states(starter, again) == {TrialState.FAIL}
    assert queue.take(starter) is None


def test_a_worker_that_can_be_seen_is_left_alone_though_its_machine_has_slept(process):
    ledger = process()
    enqueue(ledger, 1)
    alive = queue.take(ledger)
    alive.set_user_attr(queue.WORKER, this_process())
    alive.set_user_attr(queue.BEAT, 0.0)
    assert queue.reap(ledger, grace=60, max_retries=1) == []
    assert process().trials[0].state is TrialState.RUNNING


def test_what_a_reaper_took_away_and_never_queued_again_is_not_forgotten(process, monkeypatch):
    ledger, sweeper = process(), process()
    enqueue(ledger, 2)
    lost, done = queue.take(ledger), queue.take(ledger)
    ledger.study.tell(done, 0.0)
    lost.set_user_attr(queue.BEAT, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "requeue", lambda *_, **__: 1 / 0)  # stands for a kill between the two writes
        with pytest.raises(ZeroDivisionError):
            queue.reap(ledger, grace=60, max_retries=1)
    assert queue.take(sweeper) is None
    assert queue.requeue_forgotten(sweeper, ["run0"], max_retries=1) == 1
    again = queue.take(sweeper)
    assert sweeper.read(again.number).user_attrs[KEY] == "run0"
    again.set_user_attr(queue.ERROR, "failed by itself")
    sweeper.study.tell(again, state=TrialState.FAIL)
    assert queue.requeue_forgotten(sweeper, ["run0"], max_retries=1) == 0


def test_a_run_that_was_lost_too_often_is_given_up_and_one_alive_is_left_alone(process):
    ledger = process()
    enqueue(ledger, 2)
    alive, lost = queue.take(ledger), queue.take(ledger)
    alive.set_user_attr(queue.WORKER, GONE)  # has just begun
    lost.set_user_attr(queue.BEAT, 0.0)
    (line,) = queue.reap(ledger, grace=60, max_retries=0)
    assert "trial 1 was left behind" in line
    assert "given up" in line
    trials = process().trials
    assert [trial.state.name for trial in trials] == ["RUNNING", "FAIL"]
    assert trials[1].user_attrs[queue.ERROR] == "process ? on ? was lost with it, 1 times"
