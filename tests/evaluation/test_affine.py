from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation import affine
from capsbench.evaluation.affine import LEVELS, area, curve_parameters
from capsbench.evaluation.predict import predict
from capsbench.evaluation.transforms import transform
from capsbench.models.output import Output


class Templates(nn.Module):
    """Nearest class mean."""

    def __init__(self, splits: Splits, pad: int = 0):
        super().__init__()
        images = nn.functional.pad(splits.train_images[:5000], [pad] * 4).float() / 255
        labels = splits.train_labels[:5000]
        self.means = torch.stack([images[labels == label].mean(dim=0).flatten() for label in range(10)])
        self.shapes = set()

    def forward(self, images, labels=None):
        self.shapes.add(tuple(images.shape[1:]))
        return Output(-torch.cdist(images.flatten(1), self.means))


class StrongestChannel(nn.Module):
    def forward(self, images, labels=None):
        return Output(images.sum(dim=(2, 3)))


class Always(nn.Module):
    def forward(self, images, labels=None):
        return Output(torch.tensor([0.0, 1.0, 0.5]).repeat(len(images), 1))


@pytest.fixture
def colours() -> Splits:
    """Rectangles of 16x20 pixels whose class is their colour."""
    labels = torch.arange(30) % 3
    images = torch.zeros(30, 3, 16, 20, dtype=torch.uint8)
    images[torch.arange(30), labels, 5:11, 7:15] = 200
    return Splits(images, labels, images, labels, images, labels, ("red", "green", "blue"))


def test_a_model_that_sees_through_transformations_is_always_right(config, cpu, colours):
    config.evaluation.affine.variants = 3
    answer = affine.evaluate(StrongestChannel(), colours, config, cpu)
    assert answer.numbers == {
        "affine/accuracy": 1.0,
        "affine/errors": 0.0,
        "affine/rotation_auc": pytest.approx(1.0),
        "affine/scale_auc": pytest.approx(1.0),
        "affine/shear_auc": pytest.approx(1.0),
        "affine/translation_auc": pytest.approx(1.0),
    }
    assert answer.arrays["affine_label"].tolist() == torch.arange(30).remainder(3).repeat_interleave(3).tolist()
    assert answer.arrays["affine_image"].tolist() == torch.arange(30).repeat_interleave(3).tolist()
    assert answer.figures["affine_set"]["frame"] == [16, 20]


def test_a_model_that_sees_nothing_has_flat_curves(config, cpu, colours):
    answer = affine.evaluate(Always(), colours, config, cpu)
    assert answer.numbers["affine/errors"] == 20
    for factor in LEVELS:
        assert answer.numbers[f"affine/{factor}_auc"] == pytest.approx(1 / 3)
    assert set(answer.arrays["affine_predicted"].tolist()) == {1}


def test_template_matching_falls_with_every_factor(config, cpu, mnist):
    model = Templates(mnist)
    config.evaluation.affine.curve_images = 200
    answer = affine.evaluate(model, mnist, config, cpu)
    plain = (predict(model, mnist.test_images, cpu, 64).predicted == mnist.test_labels).double().mean().item()
    assert answer.numbers["affine/accuracy"] < plain - 0.15
    curves = answer.figures["affine"]
    for factor, neutral in (("rotation", 0), ("scale", 1.0), ("shear", 0.0), ("translation", 0)):
        levels, accuracy = curves[factor]["levels"], curves[factor]["accuracy"]
        best = accuracy[levels.index(neutral)]
        assert best == pytest.approx(plain, abs=0.06)
        assert best == max(accuracy)
        assert accuracy[-1] < best - 0.25
        assert 0 < answer.numbers[f"affine/{factor}_auc"] < best
    # The same subset stands behind every point.
    assert (
        len(
            {
                curve["accuracy"][curve["levels"].index(n)]
                for curve, n in zip(curves.values(), (0, 1, 0, 0), strict=True)
            }
        )
        == 1
    )


def test_predictions_can_be_made_again_from_the_stored_parameters(config, cpu, mnist):
    model = Templates(mnist, pad=6)
    config.data.pad = 6
    config.evaluation.affine.images = 100
    config.evaluation.affine.variants = 2
    config.evaluation.affine.curve_images = 0
    answer = affine.evaluate(model, mnist, config, cpu)
    kept = answer.arrays
    assert model.shapes == {(1, 40, 40)}
    assert {name: (len(value), value.dtype.name) for name, value in kept.items()} == {
        "affine_label": (200, "uint8"),
        "affine_predicted": (200, "uint8"),
        "affine_parameters": (200, "float32"),
        "affine_image": (200, "int32"),
    }
    assert len(np.unique(kept["affine_image"])) == 100
    assert kept["affine_label"].tolist() == mnist.test_labels[kept["affine_image"]].tolist()
    images = transform(mnist.test_images[kept["affine_image"]], torch.from_numpy(kept["affine_parameters"]), 6)
    assert predict(model, images, cpu, 200).predicted.tolist() == kept["affine_predicted"].tolist()
    errors = (kept["affine_predicted"] != kept["affine_label"]).sum()
    assert answer.numbers == {"affine/accuracy": pytest.approx(1 - errors / 200), "affine/errors": errors}
    assert answer.figures["affine"] == {}
    assert answer.figures["affine_set"]["share_inside_frame"] == 1.0


def test_batch_size_changes_nothing_and_a_subset_is_part_of_the_whole(config, cpu, mnist):
    model = Templates(mnist)
    config.evaluation.affine.curve_images = 50
    whole = affine.evaluate(model, mnist, config, cpu)
    config.trainer.eval_batch_size = 37
    again = affine.evaluate(model, mnist, config, cpu)
    assert again.numbers == whole.numbers
    assert np.array_equal(again.arrays["affine_predicted"], whole.arrays["affine_predicted"])
    config.evaluation.affine.images = 60
    part = affine.evaluate(model, mnist, config, cpu).arrays
    chosen = part["affine_image"]
    assert np.array_equal(part["affine_parameters"], whole.arrays["affine_parameters"][chosen])
    assert np.array_equal(part["affine_predicted"], whole.arrays["affine_predicted"][chosen])


def test_translation_takes_all_eight_directions_in_turn():
    moved = curve_parameters("translation", 3.0, 16)[:, 4:]
    assert len(moved.unique(dim=0)) == 8
    assert moved.abs().amax(dim=1).eq(3).all()
    assert moved.sum(dim=0).tolist() == [0, 0]


def test_area_weighs_uneven_levels():
    assert area([0.0, 1.0, 4.0], [0.8, 0.8, 0.8]) == pytest.approx(0.8)
    assert area([0.0, 1.0, 4.0], [1.0, 1.0, 0.0]) == pytest.approx((1 + 1.5) / 4)
    assert area([-2.0, 0.0, 2.0], [0.0, 1.0, 0.0]) == pytest.approx(0.5)


def test_can_be_switched_off_and_refuses_nonsense(config, cpu, mnist):
    asked = config.evaluation.affine
    for name, value in (("images", 0), ("variants", 0), ("curve_images", -1), ("seed", -1)):
        config.evaluation.affine = replace(asked, **{name: value})
        with pytest.raises(CapsbenchError, match=f"evaluation.affine.{name}={value}"):
            affine.evaluate(Always(), mnist, config, cpu)
    config.evaluation.affine = replace(asked, enabled=False)
    answer = affine.evaluate(Always(), mnist, config, cpu)
    assert (answer.numbers, answer.figures, answer.arrays) == ({}, {}, {})
