"""Evaluations' forward pass: compiled where that is faster, and only for the batches that evaluations have."""

import dataclasses
import logging
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from capsbench.training import compiled_forward as module
from capsbench.training.compiled_forward import compile_forward, compiled_forward
from capsbench.training.hardware import Machine
from tiny import tiny_config, tiny_splits

MACHINE = Machine("cpu", "32-true")


class Model(nn.Module):
    """Counts and sleeps where it is not compiled."""

    def __init__(self, seconds=0.01):
        super().__init__()
        self.layer, self.seconds, self.eager_calls, self.compiled_calls = nn.Linear(4, 2), seconds, 0, 0
        self.compiled_seconds = 0.0

    def forward(self, images):
        self.eager_calls += 1
        time.sleep(self.seconds)
        return self.layer(images.flatten(1)[:, :4])

    def compile(self, **options):
        """In place of the compiler: the same answers, in another time."""
        self.options = options

        def compiled(images):
            if self.compiled_seconds is None:
                raise RuntimeError("no such instruction\nand more lines")
            self.compiled_calls += 1
            time.sleep(self.compiled_seconds)
            return self.layer(images.flatten(1)[:, :4])

        self._compiled_call_impl = compiled


def trial(model):
    compile_forward(model, torch.rand(3, 4), MACHINE.autocast)
    model.eager_calls = model.compiled_calls = 0
    model(torch.rand(3, 4))
    return model


def test_a_faster_forward_pass_is_taken(caplog):
    caplog.set_level(logging.INFO)
    model = trial(Model())
    assert (model.eager_calls, model.compiled_calls) == (0, 1)
    assert model.options["dynamic"] is False
    assert "evaluation is compiled" in caplog.text


def test_a_slower_one_is_not(caplog):
    caplog.set_level(logging.INFO)
    model = Model(seconds=0.0)
    model.compiled_seconds = 0.01
    trial(model)
    assert (model.eager_calls, model.compiled_calls) == (1, 0)
    assert "evaluation is eager" in caplog.text


def test_where_compiling_fails_evaluation_is_eager_with_one_warning(caplog):
    model = Model()
    model.compiled_seconds = None
    trial(model)
    assert (model.eager_calls, model.compiled_calls) == (1, 0)
    assert caplog.messages == ["compiling failed, evaluation goes on without it: RuntimeError: no such instruction"]


def test_afterwards_the_model_is_eager_again(tmp_path):
    model = Model()
    model.train()
    with compiled_forward(model, tiny_splits(), tiny_config(tmp_path), MACHINE):
        assert not model.training
        model.compiled_calls = 0
        model(torch.rand(3, 4))
        assert model.compiled_calls == 1
    model(torch.rand(3, 4))
    assert model.compiled_calls == 1


def test_the_trial_is_of_a_full_padded_batch(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "compile_forward", lambda model, images, precision: seen.append(images))
    cfg = tiny_config(tmp_path)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, pad=6))
    with compiled_forward(Model(), tiny_splits(test=40), cfg, MACHINE):
        pass
    assert seen[0].shape == (cfg.trainer.eval_batch_size, 1, 40, 40)
    assert 0.5 < seen[0].max() <= 1


REAL = """
import sys
import torch
from pathlib import Path
from capsbench.evaluation.cost import macs
from capsbench.models.build import build_model
from capsbench.training import compiled_forward as module
from capsbench.training.hardware import Machine
sys.path.insert(0, "tests")
from tiny import tiny_config, tiny_splits

cfg = tiny_config(Path("unused"), "model.routing.algorithm=em")
model = build_model(cfg.model, 1, 28, 10)
splits = tiny_splits(test=40)
images = splits.test_images.float() / 255
asked = [dict(), dict(with_routing=True), dict(labels=splits.test_labels[:32])]
with torch.inference_mode():
    expected = [model.eval()(images[:32], **more) for more in asked] + [model(images[32:])]
# Whatever the clock says, it is taken.
real_seconds = module._seconds
module._seconds = lambda model, *more: real_seconds(model, *more) * (model._compiled_call_impl is None)
torch._dynamo.reset()
with module.compiled_forward(model, splits, cfg, Machine("cpu", "32-true")):
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    # What every run counts of itself first.
    macs(model, (1, 28, 28), images.device)
    assert compiled >= 1, compiled
    with torch.inference_mode():
        found = [model(images[:32], **more) for more in asked] + [model(images[32:])]
    inputs = images[:32].clone().requires_grad_()
    model(inputs).scores.sum().backward()
    assert inputs.grad.abs().sum() > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled, "something was compiled again"
    with torch.inference_mode(), torch.profiler.profile() as profile:
        model(images[:32])
    names = {event.key for event in profile.key_averages()}
    assert any("CompiledFxGraph" in name for name in names), f"eager: {names}"
for one, other in zip(found, expected, strict=True):
    torch.testing.assert_close(one, other)
"""


@pytest.mark.slow
def test_with_the_real_compiler_answers_are_the_same_and_nothing_is_compiled_twice():
    # In a process of its own: the compiler cannot see through the checks of shapes that tests are under.
    subprocess.run([sys.executable, "-c", REAL], check=True, timeout=240)
