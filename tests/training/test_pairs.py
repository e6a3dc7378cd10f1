"""Training on overlapping digits: losses of two classes, what is counted and kept, and that small networks learn."""

import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional

from capsbench.compose import compose
from capsbench.data.overlap import fixed_pairs, overlap, pair_codes
from capsbench.errors import CapsbenchError
from capsbench.losses import margin_loss, multi_label_loss
from capsbench.models.build import build_model
from capsbench.trained import load_run
from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.runs import run_folder
from capsbench.training.task import ClassificationTask
from capsbench.training.train import run
from tiny import CAPSNET, CNN, RUN, assert_same_run, tiny_config, tiny_splits

PAIRS = ("data=multi_mnist",)
MODELS = {"capsnet": CAPSNET, "cnn": CNN}


def task_of(model: tuple[str, ...]) -> ClassificationTask:
    torch.manual_seed(0)
    cfg = compose([*RUN, *model, *PAIRS, "loss=paper"])
    return ClassificationTask(cfg, build_model(cfg.model, 1, 36, 10), 100)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    splits = tiny_splits()
    pairs = fixed_pairs(splits.train_labels[:6], 1)
    made = overlap(splits.train_images, splits.train_labels, pairs)
    return made.images / 255, made.labels, made.digits / 255


def test_capsules_learn_two_lengths_and_rebuild_each_digit_from_its_own_capsule(batch):
    task = task_of(CAPSNET)
    images, labels, digits = batch
    losses, correct = task.step_losses(*batch)
    expected = torch.zeros(())
    for which in range(2):
        alone = task.model(images, labels[:, which])
        expected = expected + (alone.reconstruction - digits[:, which]).square().flatten(1).sum(1).mean()
    targets = torch.zeros(6, 10).scatter_(1, labels, 1.0)
    margin = margin_loss(alone.scores, targets, form=task.cfg.loss.margin_form)
    torch.testing.assert_close(losses["margin"], margin)
    torch.testing.assert_close(losses["reconstruction"], expected)
    torch.testing.assert_close(losses["loss"], margin + 0.0005 * expected)
    best = alone.scores.topk(2, dim=1).indices.sort(1).values
    assert correct == (best == labels.sort(1).values).all(1).float().mean()


def test_cnns_learn_every_class_by_itself(batch):
    task = task_of(CNN)
    losses, _ = task.step_losses(*batch)
    scores = task.model(batch[0]).scores
    slow = torch.zeros(())
    for image, row in enumerate(scores):
        for label, logit in enumerate(row):
            present = label in batch[1][image].tolist()
            slow = slow - (functional.logsigmoid(logit) if present else functional.logsigmoid(-logit)) / len(scores)
    assert set(losses) == {"loss", "cross_entropy"}
    torch.testing.assert_close(losses["loss"], slow)
    targets = torch.zeros(6, 10).scatter_(1, batch[1], 1.0)
    torch.testing.assert_close(multi_label_loss(scores, targets), slow)


@pytest.mark.usefixtures("tiny_data")
@pytest.mark.parametrize("model", MODELS)
def test_counts_pairs_and_keeps_them_by_their_codes(root, model):
    cfg = tiny_config(root, *PAIRS, "evaluation.overlap.each=2", "evaluation.overlap.enabled=true", model=MODELS[model])
    result = run(cfg)
    metrics, folder = result["metrics"], run_folder(cfg).path
    splits = tiny_splits()
    pairs = overlap(splits.test_images, splits.test_labels, fixed_pairs(splits.test_labels, 2))
    network = build_model(cfg.model, 1, 36, 10)
    network.load_state_dict({k.removeprefix("model."): v for k, v in torch.load(folder / "last.ckpt", weights_only=True)["state_dict"].items() if k.startswith("model.")})  # fmt: skip  # noqa: E501
    with torch.no_grad():
        best = network.eval()(pairs.images / 255).scores.topk(2, dim=1).indices
    with np.load(folder / "predictions.npz") as kept:
        np.testing.assert_array_equal(kept["test_label"], pair_codes(pairs.labels, 10))
        np.testing.assert_array_equal(kept["test_predicted"], pair_codes(best, 10))
        wrong = (kept["test_predicted"] != kept["test_label"]).sum()
        assert ((kept["test_confidence"] >= 0) & (kept["test_confidence"] <= 1)).all()
    hits = [[label in seen for label in both] for both, seen in zip(pairs.labels.tolist(), best.tolist(), strict=True)]
    assert result["test_images"] == 60
    assert metrics["test/errors"] == metrics["overlap/errors"] == wrong == sum(not all(both) for both in hits)
    assert metrics["test/accuracy"] == pytest.approx(1 - wrong / 60)
    assert metrics["test/recall"] == pytest.approx(np.mean(hits)) == metrics["overlap/recall"]
    rows = (folder / "metrics.csv").read_text()
    assert "val/recall" in rows.splitlines()[0]
    model = load_run(folder)
    assert torch.equal(model.predict(pairs.images).sort(1).values, best.sort(1).values)


@pytest.mark.usefixtures("tiny_data")
def test_a_stopped_run_goes_on_to_the_same_bits(root, monkeypatch):
    keys = (*PAIRS, "trainer.checkpoint_minutes=1e-9")
    whole, cuts = tiny_config(root / "whole", *keys), []
    save = Checkpoints.save_last

    def save_and_keep(self, trainer, pl_module):
        save(self, trainer, pl_module)
        cuts.append(root / f"cut{len(cuts)}")
        shutil.copytree(self.folder, cuts[-1], ignore=shutil.ignore_patterns("claim"))

    with monkeypatch.context() as kept:
        kept.setattr(Checkpoints, "save_last", save_and_keep)
        run(whole)
    for number in (2, 7):
        cfg = tiny_config(root / f"from{number}", *keys)
        shutil.copytree(cuts[number], run_folder(cfg).path)
        run(cfg)
        assert_same_run(run_folder(cfg).path, run_folder(whole).path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.flip=true"], "data.flip=True with data.overlap=true"),
        (["data.affine=1"], r"data.affine=1.0 with data.overlap=true"),
        (["data.contrast=[0.5,1.5]"], r"data.contrast=\[0.5, 1.5\] with data.overlap=true"),
        (["loss.classification=spread"], "loss.classification=spread knows one class per image"),
        (["evaluation.matched.enabled=true"], "evaluation.matched.enabled=true compares accuracies on single images"),
    ],
)
def test_what_pairs_cannot_have_is_refused(overrides, message):
    with pytest.raises(CapsbenchError, match=message):
        compose([*RUN, *CAPSNET, *PAIRS, *overrides])


@pytest.mark.slow
@pytest.mark.parametrize(("model", "epochs"), [("capsnet_small", 4), ("cnn_small", 8)])
def test_small_networks_learn_to_tell_two_digits_apart(root, model, epochs):
    """Chance finds one of 45 pairs of classes and a fifth of the digits."""
    cfg = compose(
        [
            *RUN,
            *PAIRS,
            f"model={model}",
            *(["model.reconstruction=false"] if model == "capsnet_small" else []),
            "data.train_images=4000",
            "data.validation_images=500",
            f"trainer.epochs={epochs}",
            "trainer.batch_size=50",
            "optimizer.lr=3e-3",
            f"run.root={root}",
        ]
    )
    metrics = run(cfg)["metrics"]
    assert metrics["test/accuracy"] > 5 / 45
    assert metrics["test/recall"] > 0.4
