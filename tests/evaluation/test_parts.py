from dataclasses import replace

import pytest
import torch
from torch import nn

from capsbench.config_models import CapsNet
from capsbench.errors import CapsbenchError
from capsbench.evaluation import parts
from capsbench.evaluation.parts import auroc, none_threshold
from capsbench.models.output import Output


class Whole(nn.Module):
    """Knows every image by heart: its class with length 0.9, anything else as class 3 with length 0.2."""

    def __init__(self, images, labels):
        super().__init__()
        self.known = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)}

    def forward(self, images, labels=None):
        scores = torch.full((len(images), 10), 0.1)
        for row, image in enumerate(images.mul(255).round().to(torch.uint8)):
            label = self.known.get(image.numpy().tobytes())
            scores[row, 3 if label is None else label] = 0.2 if label is None else 0.9
        return Output(scores)


class Bag(nn.Module):
    """Sees how often each brightness occurs, not where: rearranging changes nothing."""

    def __init__(self, images, labels):
        super().__init__()
        self.sums = {int(image.sum()): int(label) for image, label in zip(images, labels, strict=True)}

    def forward(self, images, labels=None):
        scores = torch.full((len(images), 10), 0.1)
        for row, total in enumerate(images.mul(255).round().sum(dim=(1, 2, 3)).long().tolist()):
            scores[row, self.sums.get(total, 3)] = 0.9 if total in self.sums else 0.2
        return Output(scores)


@pytest.fixture
def asked(config):
    config.model = CapsNet()
    config.evaluation.parts.enabled = True
    return config


@pytest.fixture
def few(mnist):
    return replace(
        mnist, validation_images=mnist.validation_images[:100], validation_labels=mnist.validation_labels[:100]
    )


def known(model, few):
    images = torch.cat([few.validation_images, few.test_images])
    return model(images, torch.cat([few.validation_labels, few.test_labels]))


def test_a_model_of_wholes_claims_clean_images_only(asked, cpu, few):
    found = parts.evaluate(known(Whole, few), few, asked, cpu)
    numbers = found.numbers
    assert numbers["parts/threshold"] == pytest.approx(0.9)
    assert numbers["parts/clean_claimed"] == numbers["parts/clean_accepted"] == 1
    names = ["grid2", "grid4", "grid7", "swapped_sides", "swapped_ends", "mixed2", "mixed4"]
    assert list(found.figures["parts"]["conditions"]) == ["clean", *names]
    for name in names:
        assert numbers[f"parts/{name}_claimed"] == numbers[f"parts/{name}_accepted"] == 0
        assert numbers[f"parts/{name}_auroc"] == 1
        assert numbers[f"parts/{name}_confidence"] == pytest.approx(0.2)
    threes = (few.test_labels == 3).double().mean().item()
    assert numbers["parts/grid4_same"] == pytest.approx(threes)
    assert numbers["parts/mixed4_same"] > threes


def test_a_bag_of_features_is_fooled(asked, cpu, few):
    asked.evaluation.parts.images = 150
    numbers = parts.evaluate(known(Bag, few), few, asked, cpu).numbers
    for name in ("grid2", "grid4", "grid7", "swapped_sides", "swapped_ends"):
        # Equal sums of different digits are rare.
        assert numbers[f"parts/{name}_claimed"] > 0.9
        assert numbers[f"parts/{name}_auroc"] == pytest.approx(0.5)
    assert numbers["parts/mixed2_claimed"] < 0.2


def test_the_threshold_lets_the_share_through():
    sure = torch.arange(1, 101) / 100
    assert none_threshold(sure, 0.95) == pytest.approx(0.06)
    assert (sure >= none_threshold(sure, 0.95)).sum() == 95
    assert none_threshold(sure, 1.0) == pytest.approx(0.01)
    assert none_threshold(sure, 0.0) == 1
    assert none_threshold(torch.tensor([0.4]), 0.95) == pytest.approx(0.4)


def test_auroc_counts_pairs():
    clean, spoilt = torch.tensor([0.9, 0.5, 0.7]), torch.tensor([0.5, 0.8])
    pairs = [(a > b) + 0.5 * (a == b) for a in clean.tolist() for b in spoilt.tolist()]
    assert auroc(clean, spoilt) == pytest.approx(sum(pairs) / 6)


def test_off_by_default_and_refuses_what_cannot_be(config, cpu, few):
    assert parts.evaluate(nn.Identity(), few, config, cpu).numbers == {}
    config.evaluation.parts.enabled = True
    config.evaluation.parts.grids = [1]
    with pytest.raises(CapsbenchError, match=r"evaluation.parts.grids=\[1\]"):
        parts.evaluate(known(Bag, few), few, config, cpu)
    none = replace(few, validation_images=few.validation_images[:0], validation_labels=few.validation_labels[:0])
    with pytest.raises(CapsbenchError, match="validation_images=0"):
        parts.evaluate(nn.Identity(), none, config, cpu)
