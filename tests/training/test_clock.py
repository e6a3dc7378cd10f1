"""Training time: what counts, and that it goes on after a resume."""

from types import SimpleNamespace

import pytest

from capsbench.training.callbacks import clock as module
from capsbench.training.callbacks.clock import Clock


@pytest.fixture
def now(monkeypatch):
    """A clock on the wall that the test turns."""
    wall = SimpleNamespace(time=100.0)
    monkeypatch.setattr(module.time, "perf_counter", lambda: wall.time)
    return wall


def epoch(clock, now, steps: float, validation: float, accuracy: float):
    clock.on_train_batch_start(None, None, None, 0)
    now.time += steps
    clock.on_train_batch_start(None, None, None, 1)
    now.time += steps
    clock.on_validation_start(None, None)
    now.time += validation
    clock.on_validation_end(SimpleNamespace(callback_metrics={"val/accuracy": accuracy}), None)


def test_steps_count_and_validation_does_not(now):
    clock = Clock()
    now.time += 50
    epoch(clock, now, 2.0, 7.0, 0.9)
    epoch(clock, now, 1.5, 7.0, 0.95)
    assert clock.epochs == [4.0, 3.0]
    assert clock.seconds == 7.0


def test_time_to_an_accuracy_is_that_of_the_first_validation_that_reached_it(now):
    clock = Clock()
    for accuracy in (0.9, 0.99, 0.98, 0.995):
        epoch(clock, now, 1.0, 5.0, accuracy)
    assert clock.seconds_to(0.9) == 2.0
    assert clock.seconds_to(0.99) == 4.0
    assert clock.seconds_to(0.995) == 8.0
    assert clock.seconds_to(0.999) is None


def test_a_run_that_goes_on_in_the_middle_of_an_epoch_counts_both_parts(now):
    """Lightning calls no start-of-epoch hook then; time lost between checkpoint and crash is not counted."""
    first = Clock()
    epoch(first, now, 1.0, 5.0, 0.9)
    first.on_train_batch_start(None, None, None, 0)
    now.time += 3.0
    saved = first.state_dict()
    now.time += 1000.0
    second = Clock()
    second.load_state_dict(saved)
    assert second.seconds == 5.0
    epoch(second, now, 0.5, 5.0, 0.99)
    assert second.epochs == [2.0, 4.0]
    assert second.seconds_to(0.99) == 6.0
