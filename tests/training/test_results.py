"""What is said about training time."""

import pytest

from capsbench.config import Config
from capsbench.config_models import Cnn
from capsbench.training.callbacks.clock import Clock
from capsbench.training.results import _times


def times(epochs: list[float], images: int = 1000, **trainer: int) -> dict[str, float]:
    cfg = Config(model=Cnn())
    for name, value in {"batch_size": 100, **trainer}.items():
        setattr(cfg.trainer, name, value)
    clock = Clock()
    clock.epochs = epochs
    clock.history = [
        {"seconds": sum(epochs[: n + 1]), "accuracy": accuracy}
        for n, accuracy in enumerate([0.9, 0.991, 0.992][: len(epochs)])
    ]
    return _times(cfg, clock, images)


def test_of_whole_epochs():
    """The median, so that the first epoch's warming up does not count."""
    assert times([9.0, 2.0, 2.0], images=1099) == {
        "time/train_seconds": 13.0,
        "time/seconds_per_epoch": 2.0,
        "time/images_per_second": 500.0,
        "time/seconds_to_target": 11.0,
    }


def test_a_last_epoch_that_is_cut_short_is_no_epoch():
    found = times([2.0, 0.2], steps=11)
    assert found["time/seconds_per_epoch"] == 2.0
    assert found["time/images_per_second"] == 500.0


def test_less_than_one_epoch_is_scaled_up():
    found = times([0.6], steps=3)
    assert found["time/seconds_per_epoch"] == pytest.approx(2.0)
    assert found["time/images_per_second"] == pytest.approx(500.0)


def test_several_epochs_between_validations():
    """Ten steps an epoch, three of them a round, and a last round of one."""
    found = times([6.6, 6.0, 2.0], steps=70, validate_steps=21)
    assert found["time/seconds_per_epoch"] == pytest.approx(2.1)
    assert found["time/images_per_second"] == pytest.approx(1000 / 2.1)
    assert times([2.0], steps=10, validate_steps=21)["time/seconds_per_epoch"] == pytest.approx(2.0)


@pytest.mark.parametrize("shortened", [{"limit_batches": 2}, {"overfit_batches": 2}])
def test_shortened_epochs(shortened):
    assert times([0.5], **shortened)["time/images_per_second"] == pytest.approx(400.0)


def test_a_target_that_was_not_reached_is_absent():
    assert "time/seconds_to_target" not in times([1.0])
