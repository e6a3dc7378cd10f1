"""Whether a step is compiled: estimated from what it takes eagerly, and kept only where it is faster."""

import logging
import time

import pytest
import torch
from torch import nn

from capsbench.compose import compose
from capsbench.training import compilation, fit
from capsbench.training.compilation import StepTime, compiled_or_eager, decide, eager_time, step_seconds
from capsbench.training.hardware import Machine

AUTO = ["trainer.compile=auto"]


class Step:
    """Losses of a linear layer; before them it sleeps."""

    def __init__(self, model, seconds=0.0):
        self.model, self.seconds, self.calls = model, seconds, 0

    def __call__(self, images, labels):
        self.calls += 1
        time.sleep(self.seconds)
        return {"loss": self.model(images).square().mean()}, torch.ones(())


class Batches:
    def example(self):
        return torch.ones(4, 8), torch.zeros(4, dtype=torch.long)


class Task:
    """What `choose_step` sees of a task."""

    def __init__(self, seconds, planned_steps=10**6):
        self.model = nn.Linear(8, 4)
        self.step_losses = self.eager = Step(self.model, seconds)
        self.planned_steps, self.compiled = planned_steps, False

    def to(self, device):
        return self


@pytest.fixture
def compiling(monkeypatch):
    """Compiling yields a step that sleeps this long; returns how to set it, and what was compiled."""
    made = []

    def set_to(seconds):
        def fake(eager, model, *batch):
            made.append(Step(model, seconds) if seconds is not None else eager)
            return made[-1], 1.0

        monkeypatch.setattr(fit, "compiled_or_eager", fake)
        return made

    return set_to


def choose(task, *overrides):
    cfg = compose([*AUTO, *overrides])
    fit.choose_step(cfg, task, Batches(), Machine("cpu", "32-true"))
    return task


def test_a_faster_compiled_step_is_taken(compiling, caplog):
    caplog.set_level(logging.INFO)
    made = compiling(0.0)
    task = choose(Task(0.02))
    assert task.step_losses is made[0]
    assert task.compiled
    assert "compiling the step: 1000000 steps of about 2" in caplog.text


def test_a_slower_compiled_step_is_not_and_the_log_says_so(compiling, caplog):
    caplog.set_level(logging.INFO)
    made = compiling(0.03)
    task = choose(Task(0.01))
    assert len(made) == 1
    assert task.step_losses is task.eager
    assert not task.compiled
    assert "the compiled step takes 3" in caplog.text


def test_who_asks_for_compiling_gets_it_without_trials(compiling):
    made = compiling(0.03)
    task = choose(Task(0.01), "trainer.compile=true")
    assert task.step_losses is made[0]
    assert task.compiled
    assert task.eager.calls == made[0].calls == 0


def test_who_forbids_it_gets_the_eager_step(compiling):
    made = compiling(0.0)
    task = choose(Task(0.01), "trainer.compile=false")
    assert made == []
    assert task.step_losses is task.eager
    assert task.eager.calls == 0


def test_where_compiling_fails_nothing_counts_as_compiled(compiling):
    compiling(None)
    task = choose(Task(0.01))
    assert task.step_losses is task.eager
    assert not task.compiled


def test_a_short_run_is_not_compiled(compiling, caplog):
    caplog.set_level(logging.INFO)
    made = compiling(0.0)
    choose(Task(0.01, planned_steps=10))
    assert made == []
    assert "not compiling the step: 10 steps" in caplog.text


@pytest.mark.parametrize(("savable", "expected"), [(0.05, True), (0.03, False)])
def test_compiling_must_save_twice_what_it_costs(savable, expected):
    decision = decide(compose(AUTO), 1000, StepTime(0.1, savable))
    assert decision.compile is expected
    assert f"save about {1000 * savable:.0f} s" in decision.reason


def test_without_a_compiler_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    decision = decide(compose(AUTO), 10**6, StepTime(1, 1))
    assert decision == compilation.Decision(compile=False, reason="no C++ compiler is installed")


def test_time_in_matrix_products_is_not_savable():
    large, elementwise = torch.ones(700, 700, requires_grad=True), torch.ones(3_000_000, requires_grad=True)

    def products(images, labels):
        return {"loss": (large @ large @ large).sum()}, images

    def between(images, labels):
        return {"loss": elementwise.sin().cos().sin().sum()}, images

    shares = []
    for step in (products, between):
        found = eager_time(step, nn.Linear(1, 1), *Batches().example())
        shares.append(found.savable / found.seconds / compilation.SAVED_BETWEEN_PRODUCTS)
    assert shares[0] < 0.5 < shares[1] <= 1


def test_rehearsals_leave_no_trace():
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    step_seconds(Step(model), model, *Batches().example())
    eager_time(Step(model), model, *Batches().example())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_failing_compiler_leaves_the_eager_step_and_one_warning(monkeypatch, caplog):
    def broken(eager, mode):
        def step(*batch):
            raise RuntimeError("no such instruction\nand more lines")

        return step

    monkeypatch.setattr(torch, "compile", broken)
    eager = Step(nn.Linear(8, 4))
    step, _ = compiled_or_eager(eager, eager.model, *Batches().example())
    assert step is eager
    assert caplog.messages == ["compiling failed, training goes on without it: RuntimeError: no such instruction"]
