"""What each normaliser sums to, and max-min normalisation by hand."""

import pytest
import torch

from capsbench.capsules.routing.normalisers import coupling_coefficients, first_coefficient, max_min_coefficients
from capsbench.config_models import Normaliser

LOGITS_JBI = torch.tensor([[[0.0, 2.0]], [[1.0, 2.0]], [[4.0, 2.0]]], dtype=torch.float64)


def test_softmax_in_sums_to_one_over_inputs():
    found = coupling_coefficients(LOGITS_JBI, normaliser=Normaliser.softmax_in)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(3, 1, dtype=torch.float64))


def test_softmax_out_sums_to_one_over_outputs():
    found = coupling_coefficients(LOGITS_JBI)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(1, 2, dtype=torch.float64))


def test_sigmoid_looks_at_one_pair_only():
    found = coupling_coefficients(LOGITS_JBI, normaliser=Normaliser.sigmoid)
    torch.testing.assert_close(found, 1 / (1 + torch.exp(-LOGITS_JBI)))


def test_max_min_by_hand():
    found = max_min_coefficients(LOGITS_JBI)
    assert found[:, 0, 0].tolist() == [0.0, 0.25, 1.0]
    assert found[:, 0, 1].tolist() == [1.0, 1.0, 1.0]


def test_max_min_does_not_know_scales():
    torch.testing.assert_close(max_min_coefficients(LOGITS_JBI), max_min_coefficients(1e-6 * LOGITS_JBI + 3))


def test_max_min_of_equal_logits_has_a_finite_gradient():
    logits = torch.zeros(3, 2, 4, requires_grad=True)
    max_min_coefficients(logits).pow(2).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("normaliser", "leaky"), [*((kind, False) for kind in Normaliser), (Normaliser.softmax_out, True)]
)
def test_the_first_coefficient_is_that_of_zero_logits(normaliser, leaky):
    logits = torch.zeros(3, 1, 7, dtype=torch.float64)
    found = coupling_coefficients(logits, leaky=leaky, normaliser=normaliser)
    expected = first_coefficient(7, 3, leaky=leaky, normaliser=normaliser)
    torch.testing.assert_close(found, torch.full_like(found, expected))
