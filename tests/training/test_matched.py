from dataclasses import replace

import pytest
import torch

from capsbench.evaluation.predict import predict
from capsbench.models.build import build_model
from capsbench.training import train
from capsbench.training.callbacks.matched import follows, shifted_validation
from capsbench.training.runs import run_folder
from tiny import tiny_config, tiny_splits

CPU = torch.device("cpu")


@pytest.fixture
def splits(monkeypatch):
    found = tiny_splits(train=100, validation=50)
    monkeypatch.setattr(train, "load_splits", lambda cfg: found)
    return found


def matched_config(root, *overrides):
    keys = (
        "data.pad=2",
        "evaluation.matched.accuracy=0.7",
        "evaluation.matched.images=30",
        "optimizer.lr=0.01",
        "trainer.compile=false",
    )
    return tiny_config(root, *keys, "trainer.epochs=4", *overrides)


def test_keeps_the_first_weights_that_are_accurate_enough(root, splits):
    cfg = matched_config(root)
    result = train.run(cfg)
    figure = result["figures"]["matched"]
    accuracies = [row["accuracy"] for row in figure["history"]]
    assert [row["epoch"] for row in figure["history"]] == [0, 1, 2, 3]
    first = next(row for row in figure["history"] if row["accuracy"] >= 0.7)
    assert accuracies[-1] > accuracies[0]
    assert figure["reached"] == {**first, "threshold": 0.7}

    model = build_model(cfg.model, 1, 32, 10).eval()
    kept = torch.load(run_folder(cfg).path / "matched.ckpt", weights_only=True)
    assert kept["epoch"] == first["epoch"] == result["metrics"]["matched/epoch"]
    model.load_state_dict(kept["model"])
    clean = predict(model, splits.validation_images, CPU, 32, 2).predicted == splits.validation_labels
    assert clean.double().mean().item() == pytest.approx(first["accuracy"])
    images, labels = shifted_validation(splits, cfg)
    assert images.shape == (30, 1, 32, 32)
    moved = predict(model, images, CPU, 32).predicted == labels
    assert moved.double().mean().item() == pytest.approx(first["affine_accuracy"])
    errors = (predict(model, splits.test_images, CPU, 32, 2).predicted != splits.test_labels).sum().item()
    assert result["metrics"]["matched/errors"] == errors
    share = result["metrics"]["matched/affine_accuracy"]
    assert result["metrics"]["matched/affine_errors"] == pytest.approx(30 * (1 - share))
    text = (run_folder(cfg).path / "metrics.csv").read_text()
    assert "val/affine_accuracy" in text.splitlines()[0]


def test_a_run_evaluated_again_without_following_keeps_what_was_found(root, splits):
    first = train.run(matched_config(root))
    again = train.run(matched_config(root, "evaluation.matched.enabled=false"))
    assert again["evaluation"] != first["evaluation"]
    assert again["figures"]["matched"] == first["figures"]["matched"]
    assert again["metrics"]["matched/errors"] == first["metrics"]["matched/errors"]
    assert again["metrics"]["test/errors"] == first["metrics"]["test/errors"]


def test_following_changes_nothing_of_the_training(root, splits):
    on = train.run(matched_config(root))
    off = train.run(matched_config(root / "other", "evaluation.matched.enabled=false"))
    for name in ("test/errors", "test/margin", "val/loss"):
        assert on["metrics"][name] == off["metrics"][name]
    assert "matched" not in off["figures"]


def test_out_of_reach_leaves_the_history_alone(root, splits):
    cfg = matched_config(root, "evaluation.matched.accuracy=1.01", "trainer.epochs=1")
    result = train.run(cfg)
    assert result["figures"]["matched"]["reached"] is None
    assert len(result["figures"]["matched"]["history"]) == 1
    assert not any(name.startswith("matched/") for name in result["metrics"])
    assert not (run_folder(cfg).path / "matched.ckpt").exists()


def test_padded_runs_follow_by_themselves(root):
    cfg = tiny_config(root)
    assert not follows(cfg)
    assert follows(replace(cfg, data=replace(cfg.data, pad=6)))
    assert follows(tiny_config(root, "evaluation.matched.enabled=true"))
    assert not follows(tiny_config(root, "evaluation.matched.enabled=false", "data.pad=6"))
