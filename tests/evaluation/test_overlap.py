import pytest
import torch
from torch import nn

from capsbench.data.overlap import fixed_pairs, overlap
from capsbench.errors import CapsbenchError
from capsbench.evaluation.overlap import evaluate, found
from capsbench.models.output import Output


class Remembers(nn.Module):
    """Knows the classes of every pair; the larger of the two is never the second score when `forgets`."""

    def __init__(self, mnist, pad, each, forgets=False):
        super().__init__()
        self.pairs = overlap(mnist.test_images, mnist.test_labels, fixed_pairs(mnist.test_labels, each), pad)
        self.known = {image.numpy().tobytes(): row for row, image in enumerate(self.pairs.images)}
        self.forgets = forgets

    def forward(self, images, labels=None):
        scores, pictures = torch.zeros(len(images), 10), torch.zeros_like(images)
        for place, image in enumerate(images.mul(255).round().to(torch.uint8)):
            row = self.known[image.numpy().tobytes()]
            first, second = self.pairs.labels[row].tolist()
            scores[place, first] = 1.0
            scores[place, (second + 1) % 10 if self.forgets else second] = 0.5
            which = self.pairs.labels[row].tolist().index(int(labels[place]))
            pictures[place] = self.pairs.digits[row, which] / 255
        return Output(scores, None, pictures)


class Guesses(nn.Module):
    def forward(self, images, labels=None):
        return Output(torch.linspace(1, 0, 10).repeat(len(images), 1))


def test_a_model_that_knows_both_digits_is_right_and_rebuilds_each(config, cpu, mnist):
    config.data.pad, config.evaluation.overlap.enabled, config.evaluation.overlap.each = 4, True, 2
    answer = evaluate(Remembers(mnist, 4, 2), mnist, config, cpu)
    assert answer.numbers == {
        "overlap/exact_match": 1.0,
        "overlap/errors": 0.0,
        "overlap/recall": 1.0,
        "overlap/reconstruction_error": pytest.approx(0.0, abs=1e-10),
    }
    assert answer.figures["overlap"] == {"pairs": 800, "shift": 4, "seed": 0, "frame": [36, 36]}


def test_one_digit_right_is_half_the_recall_and_no_match(config, cpu, mnist):
    config.data.pad, config.evaluation.overlap.enabled = 4, True
    model = Remembers(mnist, 4, 1, forgets=True)
    # Where the wrong second guess is the first digit again, the next largest score is class 0 or 1.
    numbers = evaluate(model, mnist, config, cpu).numbers
    assert numbers["overlap/exact_match"] < 0.1
    assert numbers["overlap/recall"] == pytest.approx(0.5, abs=0.05)


def test_blind_guesses_are_as_good_as_the_classes_are_common(config, cpu, mnist):
    config.evaluation.overlap.enabled = True
    numbers = evaluate(Guesses(), mnist, config, cpu).numbers
    labels = mnist.test_labels[fixed_pairs(mnist.test_labels, 1).index]
    assert numbers["overlap/recall"] == pytest.approx((labels <= 1).double().mean().item())
    assert numbers["overlap/exact_match"] == pytest.approx((labels <= 1).all(dim=1).double().mean().item())
    assert numbers["overlap/errors"] == round(400 * (1 - numbers["overlap/exact_match"]))
    assert "overlap/reconstruction_error" not in numbers
    config.trainer.eval_batch_size = 7
    assert evaluate(Guesses(), mnist, config, cpu).numbers == numbers


def test_order_does_not_matter():
    scores = torch.tensor([[0.1, 0.9, 0.8], [0.1, 0.9, 0.8]])
    assert found(scores, torch.tensor([[2, 1], [0, 2]])).tolist() == [[True, True], [False, True]]


def test_off_by_default_and_refuses_nonsense(config, cpu, mnist):
    assert evaluate(Guesses(), mnist, config, cpu).numbers == {}
    config.evaluation.overlap.enabled = True
    config.evaluation.overlap.shift = -1
    with pytest.raises(CapsbenchError, match="shift=-1"):
        evaluate(Guesses(), mnist, config, cpu)
