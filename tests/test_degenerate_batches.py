"""Promise: batches of one image, of one class or of nothing but black train and evaluate like any others."""

import math

import pytest
import torch

from capsbench.data.splits import Splits
from capsbench.training import train
from capsbench.training.runs import run_folder
from capsbench.training.train import run
from tiny import CAPSNET, CNN, read_rows, read_weights, tiny_config, tiny_splits

MODELS = {
    "capsnet": CAPSNET,
    "cnn": (*CNN, "model.batch_norm=true"),
    "em": (*CAPSNET, "model.routing.algorithm=em"),
    "self": (*CAPSNET, "model.routing.algorithm=self_routing"),
}


@pytest.fixture
def trained_on(root, monkeypatch):
    """Train on these images and check that all that was kept is a number."""

    def train_on(splits: Splits, *overrides: str, model: str) -> dict:
        monkeypatch.setattr(train, "load_splits", lambda _: splits)
        cfg = tiny_config(root, "trainer.steps=3", *overrides, model=MODELS[model])
        result = run(cfg)
        folder = run_folder(cfg).path
        assert all(torch.isfinite(value).all() for value in read_weights(folder / "last.ckpt").values())
        assert all(math.isfinite(value) for value in result["metrics"].values())
        values = [float(cell) for row in read_rows(folder / "metrics.csv") for cell in row.values() if cell]
        assert all(math.isfinite(value) for value in values)
        return result

    return train_on


@pytest.mark.parametrize("model", MODELS)
def test_one_image_a_batch(trained_on, model):
    trained_on(tiny_splits(), "trainer.batch_size=1", model=model)


@pytest.mark.parametrize("model", MODELS)
def test_the_last_batch_of_one_image_counts_once(trained_on, model):
    """16 validation images and 31 test images in batches of 15."""
    one = trained_on(tiny_splits(test=31), "trainer.eval_batch_size=15", model=model)
    assert one["test_images"] == 31


@pytest.mark.parametrize("model", MODELS)
def test_one_class_only(trained_on, model):
    """Of ten that the network can tell apart the data have one."""
    splits = tiny_splits()
    labels = {name: torch.full_like(getattr(splits, name), 4) for name in ("train_labels", "validation_labels")}
    trained_on(Splits(**{**vars(splits), **labels}), model=model)


@pytest.mark.parametrize("standardize", ["false", "true"])
@pytest.mark.parametrize("value", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("model", MODELS)
def test_images_of_one_colour(trained_on, model, value, standardize):
    splits = tiny_splits()
    names = ("train_images", "validation_images", "test_images")
    images = {name: torch.full_like(getattr(splits, name), value) for name in names}
    trained_on(Splits(**{**vars(splits), **images}), f"data.standardize={standardize}", model=model)


@pytest.mark.parametrize("model", MODELS)
def test_black_images_in_bf16(trained_on, model):
    splits = tiny_splits()
    black = torch.zeros_like(splits.train_images)
    trained_on(Splits(**{**vars(splits), "train_images": black}), "trainer.precision=bf16-mixed", model=model)
