"""The learning rate at a step, as the released code has it and as short runs squeeze it."""

import pytest
import torch

from capsbench.compose import compose
from capsbench.config import Optimizer, Schedule
from capsbench.training.schedule import rate_factor


def rates(cfg: Optimizer, planned: int, steps: list[int]) -> list[float]:
    factor = rate_factor(cfg, planned)
    return [cfg.lr * factor(step) for step in steps]


def test_released_schedule():
    """max(1e-6, 1e-3 * 0.96^(step / 2000)), continuous: a step of 1000 is half a factor."""
    steps = [0, 1, 1000, 2000, 100_000, 300_000]
    expected = [1e-3 * 0.96 ** (step / 2000) for step in steps]
    assert rates(Optimizer(decay_steps=2000), 300_000, steps) == pytest.approx(expected, rel=1e-12)
    assert expected[3] == pytest.approx(9.6e-4)


def test_released_schedule_does_not_depend_on_the_planned_steps():
    assert rates(Optimizer(decay_steps=2000), 10, [500]) == rates(Optimizer(decay_steps=2000), 10**6, [500])


def test_floor():
    """The released code would reach 1e-6 after 338,426 steps."""
    assert rates(Optimizer(decay_steps=2000), 0, [400_000, 10**7]) == pytest.approx([1e-6, 1e-6], rel=1e-12)
    assert rates(Optimizer(decay_steps=2000), 0, [338_000])[0] > 1e-6
    assert rates(Optimizer(decay_steps=2000, floor=0.0), 0, [400_000])[0] < 1e-6


@pytest.mark.parametrize("planned", [3, 500, 1290, 300_000])
def test_scaled_schedule_ends_where_the_released_one_ends(planned):
    """Any number of planned steps goes through 150 factors: 0.96^150 = 0.0022 of the first rate at the end."""
    first, middle, last = rates(Optimizer(), planned, [0, planned // 2, planned])
    assert first == 1e-3
    assert last == pytest.approx(1e-3 * 0.96**150, rel=1e-9)
    assert middle == pytest.approx(1e-3 * 0.96 ** (150 * (planned // 2) / planned), rel=1e-9)


def test_scaled_schedule_of_the_released_length_is_the_released_schedule():
    steps = [0, 7, 2000, 150_000, 299_999]
    assert rates(Optimizer(), 300_000, steps) == pytest.approx(rates(Optimizer(decay_steps=2000), 300_000, steps))


def test_cooldown_falls_in_a_straight_line_to_the_floor():
    cfg = Optimizer(decay_steps=2000, cooldown=0.25)
    released = rates(Optimizer(decay_steps=2000), 400, [0, 300, 350, 399])
    found = rates(cfg, 400, [0, 300, 350, 399, 400])
    assert found[:2] == released[:2]
    assert found[2] == pytest.approx(released[2] * 0.5)
    assert found[3] == pytest.approx(released[3] * 0.01)
    assert found[4] == pytest.approx(1e-6)


def test_no_cooldown_unless_asked_for():
    assert rates(Optimizer(decay_steps=2000), 10, [10]) == rates(Optimizer(decay_steps=2000, cooldown=0.0), 10, [10])


def test_constant():
    assert rates(Optimizer(schedule=Schedule.constant), 10, [0, 5, 10**6]) == [1e-3] * 3


def test_another_first_rate_keeps_the_floor():
    assert rates(Optimizer(lr=0.1, decay_steps=10), 0, [10**5]) == pytest.approx([1e-6])


def test_drives_the_optimiser():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(Optimizer(decay_steps=2000), 10))
    for step in range(1, 6):
        optimizer.step()
        schedule.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.96 ** (step / 2000), rel=1e-12)


def test_staircase_drops_once_in_so_many_steps():
    """Recipes that lower the rate once an epoch, here of 10 steps; down to the floor."""
    cfg = Optimizer(schedule=Schedule.staircase, decay=0.5, decay_steps=10, lr=0.1, floor=0.02)
    assert rates(cfg, 99, [0, 9, 10, 19, 20, 29, 30]) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.02])


def test_multistep_drops_at_shares_of_the_planned_steps():
    """350 epochs of 391 steps with a tenth after 150 and again after 250 of them (Tsai et al. 2020)."""
    cfg, epoch = compose(["model=cnn_small", "optimizer=sgd_multistep"]).optimizer, 391
    steps = [0, 150 * epoch - 1, 150 * epoch, 250 * epoch - 1, 250 * epoch, 350 * epoch]
    assert rates(cfg, 350 * epoch, steps) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_cosine_goes_from_the_first_rate_to_the_floor():
    cfg = Optimizer(schedule=Schedule.cosine, lr=0.1, floor=0.02)
    assert rates(cfg, 400, [0, 100, 200, 300, 400, 500]) == pytest.approx(
        [0.1, 0.02 + 0.04 * (1 + 0.5**0.5), 0.06, 0.02 + 0.04 * (1 - 0.5**0.5), 0.02, 0.02]
    )


def test_the_recipe_of_byerly_lowers_the_rate_once_an_epoch():
    cfg = compose(["experiment=byerly2021/mnist"])
    epoch = 55_000 // cfg.trainer.batch_size
    found = rates(cfg.optimizer, 300 * epoch, [0, epoch - 1, epoch, 7 * epoch, 299 * epoch])
    assert found == pytest.approx([1e-3 * 0.98**number for number in (0, 0, 1, 7, 299)])
