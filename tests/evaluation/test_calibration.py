import math

import pytest
import torch

from capsbench.evaluation import calibration
from capsbench.evaluation.predict import Predictions


def predictions(scores):
    return Predictions(scores, scores.argmax(dim=1))


def test_two_bins_by_hand():
    # Four images claimed with 0.9, one of them wrong; one claimed with 0.5, right.
    scores = torch.tensor([[0.9, 0.2], [0.9, 0.2], [0.9, 0.2], [0.9, 0.2], [0.1, 0.5]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    answer = calibration.evaluate(predictions(scores), labels, lengths=True)
    assert answer.numbers["test/ece"] == pytest.approx(0.8 * abs(0.75 - 0.9) + 0.2 * abs(1 - 0.5))
    figure = answer.figures["calibration"]
    assert sum(figure["count"]) == 5
    filled = [i for i, count in enumerate(figure["count"]) if count]
    assert [figure["confidence"][i] for i in filled] == pytest.approx([0.5, 0.9])
    assert [figure["accuracy"][i] for i in filled] == [1.0, 0.75]
    assert figure["accuracy"][0] is None


def test_logits_are_read_as_softmax_and_lengths_as_they_are():
    scores = torch.tensor([[0.0, math.log(3)]])
    assert calibration.confidence(scores, lengths=False).item() == pytest.approx(0.75)
    # Logits that happen to lie in [0, 1] are logits all the same.
    assert calibration.confidence(torch.tensor([[0.0, 1.0]]), lengths=False).item() == pytest.approx(
        math.e / (1 + math.e)
    )
    assert calibration.confidence(torch.tensor([[0.2, 0.97]]), lengths=True).item() == pytest.approx(0.97)


def test_honest_confidence_is_calibrated_and_boasting_is_not():
    generator = torch.Generator().manual_seed(0)
    claimed = torch.rand(20000, generator=generator) * 0.5 + 0.5
    right = torch.rand(20000, generator=generator) < claimed
    scores = torch.stack([claimed, 1 - claimed], dim=1)
    labels = (~right).long()
    honest = calibration.evaluate(predictions(scores), labels, lengths=True)
    assert honest.numbers["test/ece"] < 0.02
    figure = honest.figures["calibration"]
    gap = sum(
        count * abs(sure - accuracy)
        for count, sure, accuracy in zip(figure["count"], figure["confidence"], figure["accuracy"], strict=True)
        if count
    )
    assert gap / 20000 == pytest.approx(honest.numbers["test/ece"], abs=1e-3)
    boasting = calibration.evaluate(predictions(torch.stack([claimed * 0 + 1, claimed * 0], 1)), labels, lengths=True)
    assert boasting.numbers["test/ece"] == pytest.approx(0.25, abs=0.02)


def test_scores_that_are_not_numbers_leave_no_number():
    scores = torch.tensor([[0.9, 0.2], [math.nan, 0.3]])
    for lengths in (True, False):
        answer = calibration.evaluate(predictions(scores), torch.tensor([0, 1]), lengths=lengths)
        assert answer.numbers == {}
