"""The moving average of the weights: its numbers, when it stands in for them, and that a resumed run keeps it."""

import pytest
import torch
from torch import nn

from capsbench.training.averaging import WeightAverage
from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.runs import run_folder
from capsbench.training.task import ClassificationTask
from capsbench.training.train import run
from tiny import CAPSNET, read_weights, tiny_config

AVERAGED = ("optimizer=adam_averaged", "optimizer.average_decay=0.5")


def test_equals_the_recursion():
    """The first step's weights, then half of the average and half of the weights."""
    weight = nn.Parameter(torch.zeros(2))
    average = WeightAverage([weight], 0.5)
    for value in (1.0, 3.0, 7.0):
        with torch.no_grad():
            weight.copy_(torch.tensor([value, -value]))
        average.update()
    assert torch.equal(weight, torch.tensor([7.0, -7.0]))
    average.show(True)
    average.show(True)
    assert torch.equal(weight, torch.tensor([4.5, -4.5]))
    average.show(False)
    assert torch.equal(weight, torch.tensor([7.0, -7.0]))


def test_there_is_nothing_to_show_before_the_first_step():
    weight = nn.Parameter(torch.ones(2))
    average = WeightAverage([weight], 0.9)
    average.show(True)
    assert torch.equal(weight, torch.ones(2))
    assert not average.shown


@pytest.fixture
def steps(monkeypatch):
    """The weights after every optimiser step of the runs in a test."""
    seen, step = [], ClassificationTask.optimizer_step

    def watched(self, *args, **more):
        step(self, *args, **more)
        seen.append([weight.detach().clone() for weight in self.model.parameters()])

    monkeypatch.setattr(ClassificationTask, "optimizer_step", watched)
    return seen


def averages(steps):
    found, average = [], steps[0]
    for weights in steps:
        average = [0.5 * mean + 0.5 * weight for mean, weight in zip(average, weights, strict=True)]
        found.append(average)
    return found


def test_a_run_is_validated_and_kept_with_the_average_and_trains_on_without_it(root, tiny_data, monkeypatch, steps):
    validated, start = [], ClassificationTask.on_validation_start

    def watched(self):
        start(self)
        validated.append([weight.detach().clone() for weight in self.model.parameters()])

    monkeypatch.setattr(ClassificationTask, "on_validation_start", watched)
    cfg = tiny_config(root, *AVERAGED)
    run(cfg)
    expected = averages(steps)
    for found, wanted in zip(validated, (expected[4], expected[9]), strict=True):
        torch.testing.assert_close(found, wanted)
    kept = read_weights(run_folder(cfg).path / "last.ckpt")
    names = [name for name in kept if name.startswith("model.")]
    torch.testing.assert_close([kept[name] for name in names], expected[9])
    # Trained on from the weights, not from the average: the same run without one goes the same way.
    alone, before = tiny_config(root, *AVERAGED, "optimizer.average_decay=null"), len(steps)
    run(alone)
    for one, other in zip(steps[:before], steps[before:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("optimizer", [AVERAGED, ("optimizer=sgd_multistep", "optimizer.nesterov=true")])
def test_a_resumed_run_keeps_average_and_momentum(root, tiny_data, monkeypatch, resumed_equals_whole, optimizer):
    resumed_equals_whole(root, *optimizer, model=CAPSNET)


@pytest.fixture
def resumed_equals_whole(monkeypatch):
    """Stop a run inside an epoch and between epochs; what goes on from there is the run that never stopped."""
    import shutil

    from tiny import assert_same_run

    def compare(root, *overrides, model):
        whole = tiny_config(root / "whole", "trainer.checkpoint_minutes=1e-9", *overrides, model=model)
        save, cuts = Checkpoints.save_last, {}

        def save_and_keep(self, trainer, pl_module):
            save(self, trainer, pl_module)
            cuts[trainer.global_step] = root / f"cut{trainer.global_step}"
            shutil.copytree(self.folder, cuts[trainer.global_step], ignore=shutil.ignore_patterns("claim"))

        with monkeypatch.context() as kept:
            kept.setattr(Checkpoints, "save_last", save_and_keep)
            run(whole)
        for step in (3, 5, 8, 10):
            cfg = tiny_config(root / f"from{step}", "trainer.checkpoint_minutes=1e-9", *overrides, model=model)
            folder = run_folder(cfg).path
            shutil.copytree(cuts[step], folder)
            run(cfg)
            assert_same_run(folder, run_folder(whole).path)

    return compare
