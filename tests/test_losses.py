"""Losses against numbers worked out by hand."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError

import paper_loops
from capsbench.config_models import MarginForm
from capsbench.losses import cross_entropy_loss, margin_loss, nll_loss, reconstruction_loss, spread_loss

LENGTHS = [[0.3, 0.5, 0.95], [0.05, 0.9, 0.6]]
TARGETS = [[1, 0, 0], [0, 1, 0]]
# Image 0: (0.9 - 0.3)^2 = 0.36, 0.5 (0.5 - 0.1)^2 = 0.08, 0.5 (0.95 - 0.1)^2 = 0.36125.
# Image 1: 0 (0.05 < 0.1), 0 (0.9 is enough), 0.5 (0.6 - 0.1)^2 = 0.125.
SUMS = [0.36 + 0.08 + 0.36125, 0.125]


@pytest.mark.parametrize(
    ("form", "expected"),
    [(MarginForm.paper, sum(SUMS) / 2), (MarginForm.official, 0.5 * sum(SUMS) / (2 * 3))],
)
def test_margin_loss_by_hand(form, expected):
    loss = margin_loss(torch.tensor(LENGTHS), torch.tensor(TARGETS).float(), form=form)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def released_margin(lengths, targets):
    """The released code's own words: raw lengths shifted by 0.5, a margin of 0.4, halves in front of both costs."""
    total = 0.0
    for row, labels in zip(lengths, targets, strict=True):
        for raw, label in zip(row, labels, strict=True):
            logit = raw - 0.5
            positive = label * (logit < 0.4) * (logit - 0.4) ** 2
            negative = (1 - label) * (logit > -0.4) * (logit + 0.4) ** 2
            total += 0.5 * positive + 0.5 * 0.5 * negative
    return total / (len(lengths) * len(lengths[0]))


def test_official_form_is_the_released_formula():
    torch.manual_seed(0)
    lengths = torch.rand(6, 10, dtype=torch.float64)
    targets = torch.nn.functional.one_hot(torch.arange(6), 10).double()
    loss = margin_loss(lengths, targets, form=MarginForm.official)
    assert loss.item() == pytest.approx(released_margin(lengths.tolist(), targets.tolist()), rel=1e-12)


def test_official_form_is_a_twentieth_of_the_papers_at_ten_classes():
    lengths, targets = torch.rand(4, 10), torch.nn.functional.one_hot(torch.arange(4), 10).float()
    paper, official = (margin_loss(lengths, targets, form=form) for form in (MarginForm.paper, MarginForm.official))
    torch.testing.assert_close(official * 20, paper)


def test_paper_form_is_equation_4_with_its_gradient():
    lengths = torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
    labels = [4, 0, 2]
    slow = sum(paper_loops.margin_loss(list(row), label) for row, label in zip(lengths, labels, strict=True)) / 3
    targets = torch.nn.functional.one_hot(torch.tensor(labels), 5).double()
    fast = margin_loss(lengths, targets, form=MarginForm.paper)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(*(torch.autograd.grad(loss, lengths)[0] for loss in (fast, slow)))


def test_margins_and_down_weight_are_parameters():
    lengths, targets = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    loss = margin_loss(lengths, targets, form=MarginForm.paper, positive=0.8, negative=0.3, down_weight=0.25)
    assert loss.item() == pytest.approx(0.3**2 + 0.25 * 0.2**2)


def test_two_classes_may_be_present_at_once():
    lengths, targets = torch.tensor([[0.9, 0.95, 0.1]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert margin_loss(lengths, targets, form=MarginForm.paper).item() == pytest.approx(0, abs=1e-12)


def test_cross_entropy_by_hand():
    logits, labels = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]]), torch.tensor([1, 0])
    assert cross_entropy_loss(logits, labels).item() == pytest.approx((-math.log(0.75) + math.log(2)) / 2)
    assert cross_entropy_loss(logits.bfloat16(), labels).dtype is torch.float32


def test_reconstruction_loss_sums_pixels_and_averages_images():
    images = torch.zeros(2, 1, 2, 2)
    rebuilt = torch.tensor([[[[0.5, 0.5], [0.0, 1.0]]], [[[0.0, 0.0], [0.0, 0.2]]]])
    assert reconstruction_loss(rebuilt, images).item() == pytest.approx(((0.25 + 0.25 + 1) + 0.04) / 2)


def test_shapes_are_checked_in_tests():
    """The import hook of conftest.py is at work: the losses themselves would broadcast this to a number."""
    with pytest.raises(TypeCheckError):
        margin_loss(torch.rand(2, 3), torch.rand(2, 1), form=MarginForm.paper)


def test_spread_loss_by_hand():
    activations, labels = torch.tensor([[0.8, 0.5, 0.1], [0.2, 0.3, 0.9]]), torch.tensor([0, 1])
    # Margin 0.6. Image 0: (0.6 - 0.3)^2, and 0.7 is far enough. Image 1: (0.6 - 0.1)^2 and (0.6 + 0.6)^2.
    per_image = [0.09, 0.25 + 1.44]
    paper = spread_loss(activations, labels, 0.6, form=MarginForm.paper)
    assert paper.item() == pytest.approx(sum(per_image) / 2, rel=1e-6)
    official = spread_loss(activations, labels, torch.tensor(0.6), form=MarginForm.official)
    assert official.item() == pytest.approx(sum(per_image) / 6, rel=1e-6)


def test_nll_loss_scales_activations_to_sum_to_one():
    activations, labels = torch.tensor([[0.2, 0.2, 0.4], [0.1, 0.9, 0.0]]), torch.tensor([2, 1])
    expected = -(math.log(0.5) + math.log(0.9)) / 2
    assert nll_loss(activations, labels).item() == pytest.approx(expected, rel=1e-6)


def test_nll_loss_of_an_activation_of_zero_is_finite():
    activations = torch.zeros(1, 3, requires_grad=True)
    nll_loss(activations, torch.tensor([1])).backward()
    assert torch.isfinite(activations.grad).all()
