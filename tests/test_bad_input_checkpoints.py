"""Checkpoints that are damaged, of another model, or none at all: refused by name, wherever they are read."""

from pathlib import Path

import pytest
import torch
from torch import nn

from capsbench import load_run
from capsbench.errors import CapsbenchError
from capsbench.stored_config import stored_config
from capsbench.training import train
from capsbench.training.results import weights_from
from tiny import Trained, tiny_config


@pytest.fixture(autouse=True)
def few_images(tiny_data):
    pass


def other_weights(run: Path, name: str) -> None:
    content = torch.load(run / name, weights_only=True)
    weights = content["state_dict" if "state_dict" in content else "model"]
    key = next(iter(weights))
    weights[key] = torch.zeros(3, 3)
    torch.save(content, run / name)


def test_checkpoints_of_another_model_are_refused(trained: Trained, tmp_path):
    run = trained.copy(tmp_path / "runs")
    for name, checkpoint in (("last.ckpt", "last"), ("best.ckpt", "selected")):
        other_weights(run, name)
        with pytest.raises(CapsbenchError, match=rf"{name} holds the weights of another model"):
            load_run(run, checkpoint)
    (run / "result.json").unlink()
    with pytest.raises(CapsbenchError, match=r"last\.ckpt holds the weights of another model"):
        train.run(stored_config(run))
    with pytest.raises(CapsbenchError, match=r"last\.ckpt holds the weights of another model"):
        train.run(tiny_config(tmp_path / "other", f"trainer.init_from={run / 'last.ckpt'}"))


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02.", b"text", "cut"])
def test_damaged_checkpoints_are_refused(trained: Trained, tmp_path, name, content):
    run = trained.copy(tmp_path / "runs")
    (run / name).write_bytes((run / name).read_bytes()[:3000] if content == "cut" else content)
    with pytest.raises(CapsbenchError, match=rf"{name} is not a readable checkpoint"):
        load_run(run, "last" if name == "last.ckpt" else "selected")
    (run / "result.json").unlink()
    message = rf"{name} is not a readable checkpoint"
    if name == "last.ckpt":
        with pytest.raises(CapsbenchError, match=message):
            train.run(stored_config(run))
        return
    # After training too, where the best epoch is not the last.
    with pytest.raises(CapsbenchError, match=message), weights_from(nn.Linear(1, 1), run / name):
        pass


STRANGE = [
    [1, 2],
    {},
    {"model": [1]},
    {"model": {1: 2}},
    {"model": {"a": "b"}},
    {"state_dict": 3},
    {"state_dict": {1: 2}},
]


@pytest.mark.parametrize("content", STRANGE, ids=str)
def test_strange_weights_to_start_from(tmp_path, content):
    torch.save(content, tmp_path / "strange.ckpt")
    with pytest.raises(CapsbenchError, match=r"strange\.ckpt holds the weights of another model"):
        train.run(tiny_config(tmp_path / "runs", f"trainer.init_from={tmp_path / 'strange.ckpt'}"))


@pytest.mark.parametrize(("name", "problem"), [("gone.ckpt", "no checkpoint at"), ("", "is not a readable checkpoint")])
def test_missing_weights_to_start_from(tmp_path, name, problem):
    with pytest.raises(CapsbenchError, match=problem):
        train.run(tiny_config(tmp_path / "runs", f"trainer.init_from={tmp_path / name}"))
