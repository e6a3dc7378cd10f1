import pytest
import torch
from torch.nn import functional

from capsbench.evaluation.attacks.gradient import ascent, fgsm, margin, pgd

from .linear import Linear, grey


def labelled(model, images):
    return model(images).scores.argmax(dim=1)


def pixels_after(model, images, labels, epsilon, **asked):
    asked = {"steps": 10, "restarts": 2, "generator": torch.Generator().manual_seed(0), **asked}
    return pgd(model, images, labels, epsilon, **asked)


def test_margin_is_best_wrong_minus_true():
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.5, 0.2, 0.5]])
    assert margin(scores, torch.tensor([1, 1])).tolist() == pytest.approx([-0.6, 0.3])


def test_one_step_on_a_linear_model_is_the_analytic_worst_case():
    model, images = Linear(), grey(50)
    labels = labelled(model, images)
    direction, margins = ascent(model, images, labels)
    assert (margins < 0).all()
    attacked = fgsm(images, direction, 0.2)
    found = margin(model(attacked).scores, labels).detach()
    assert found == pytest.approx(model.worst_margin(images, labels, 0.2), abs=1e-4)
    assert model.weight.grad is None


@pytest.mark.parametrize("epsilon", [0.002, 0.005, 0.01])
def test_pgd_breaks_exactly_what_can_be_broken(epsilon):
    model, images = Linear(), grey(200)
    labels = labelled(model, images)
    attacked, broken = pixels_after(model, images, labels, epsilon)
    worst = model.worst_margin(images, labels, epsilon)
    sure = worst.abs() > 1e-4
    assert torch.equal(broken[sure], worst[sure] >= 0)
    assert 0 < broken.sum() < 200
    assert torch.equal(labelled(model, attacked)[sure] != labels[sure], broken[sure])


def test_pgd_stays_in_the_cube_and_in_the_pixels_range():
    model = Linear(classes=5)
    images = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    labels = labelled(model, images)
    model.seen.clear()
    attacked, broken = pixels_after(model, images, labels, 0.05, restarts=3)
    assert (attacked - images).abs().max() <= 0.05 + 1e-6
    assert torch.stack([seen.amin() for seen in model.seen]).min() >= 0
    assert torch.stack([seen.amax() for seen in model.seen]).max() <= 1
    # No attack may beat the bound, which forgets that pixels end at 0 and 1.
    assert not (broken & (model.worst_margin(images, labels, 0.05) < -1e-4)).any()
    assert torch.equal(labelled(model, attacked) != labels, broken)


def test_restarts_start_elsewhere_and_help():
    class Bumpy(Linear):
        def forward(self, images, labels=None):
            scores = super().forward(images).scores
            return type(super().forward(images))(scores + 0.5 * torch.sin(40 * scores))

    model, images = Bumpy(classes=3), grey(150)
    labels = labelled(model, images)
    broken = [pixels_after(model, images, labels, 0.004, restarts=count)[1].sum().item() for count in (1, 6)]
    assert broken[1] > broken[0]


def test_lengths_and_logits_are_attacked_alike():
    model, images = Linear(classes=4), grey(60)
    labels = labelled(model, images)
    plain, _ = ascent(model, images, labels)

    class Saturated(Linear):
        def forward(self, images, labels=None):
            output = super().forward(images)
            return output._replace(scores=torch.sigmoid(output.scores / 4 + 6))

    saturated, _ = ascent(Saturated(classes=4), images, labels)
    # Monotonous saturation bends the direction, but leaves one, where a saturated softmax has none.
    assert (saturated != 0).all()
    assert functional.cosine_similarity(plain.flatten(1), saturated.flatten(1)).mean() > 0.5
