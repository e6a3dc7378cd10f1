import pytest
import torch
from torch import nn

from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation import adversarial

from .attacks.linear import Linear, grey


@pytest.fixture
def two_classes() -> Splits:
    images = (grey(60) * 255).round().to(torch.uint8)
    labels = Linear()(images.float() / 255).scores.argmax(dim=1)
    labels[:6] = 1 - labels[:6]
    return Splits(images, labels, images, labels, images, labels, ("a", "b"))


@pytest.fixture
def asked(config):
    found = config.evaluation.adversarial
    found.enabled, found.epsilons, found.steps, found.restarts = True, [0.006, 0.003, 0.015], 5, 2
    found.decision_images, found.decision_queries = 20, 400
    config.trainer.eval_batch_size = 25
    return config


def test_curves_of_a_linear_model_are_the_analytic_ones(asked, cpu, two_classes):
    model = Linear()
    found = adversarial.evaluate(model, two_classes, asked, cpu)
    figure = found.figures["adversarial"]
    assert figure["epsilons"] == [0, 0.003, 0.006, 0.015]
    images, labels = two_classes.test_images.float() / 255, two_classes.test_labels
    expected = [
        (model.worst_margin(images, labels, epsilon) < 0).double().mean().item() for epsilon in figure["epsilons"]
    ]
    assert figure["accuracy"]["pgd"] == pytest.approx(expected, abs=1e-9)
    assert figure["accuracy"]["fgsm"] == pytest.approx(expected, abs=1e-9)
    assert figure["accuracy"]["pgd"][0] == pytest.approx(0.9)
    assert figure["accuracy"]["decision"][0] >= figure["accuracy"]["decision"][-1]
    assert figure["decision_images"] == 20
    numbers = found.numbers
    assert numbers["adversarial/flat_gradient"] == 0
    assert numbers["adversarial/missed_by_pgd"] == 0
    assert 0 < numbers["adversarial/median_distance"] < 1
    area = sum((a + b) / 2 * w for a, b, w in zip(expected, expected[1:], (0.2, 0.2, 0.6), strict=False))
    assert numbers["adversarial/pgd_auc"] == pytest.approx(float(area))


def test_masked_gradients_are_found_out(asked, cpu, two_classes):
    numbers = adversarial.evaluate(Linear(flat=True), two_classes, asked, cpu).numbers
    assert numbers["adversarial/flat_gradient"] == 1
    assert numbers["adversarial/fgsm_auc"] == pytest.approx(0.9, abs=0.01)
    # Random starts alone break a few.
    assert numbers["adversarial/pgd_auc"] > numbers["adversarial/decision_auc"] + 0.2
    assert numbers["adversarial/missed_by_pgd"] > 0.5


def test_the_model_is_left_as_it_was_and_the_seed_decides(asked, cpu, two_classes):
    model = Linear()
    asked.data.pad = 0
    first = adversarial.evaluate(model, two_classes, asked, cpu)
    assert model.weight.requires_grad
    assert model.weight.grad is None
    assert adversarial.evaluate(model, two_classes, asked, cpu).numbers == first.numbers


def test_without_the_decision_attack_and_off_by_default(config, asked, cpu, two_classes):
    asked.evaluation.adversarial.decision_images = 0
    asked.evaluation.adversarial.images = 10
    found = adversarial.evaluate(Linear(), two_classes, asked, cpu)
    assert set(found.numbers) == {"adversarial/flat_gradient", "adversarial/fgsm_auc", "adversarial/pgd_auc"}
    assert found.figures["adversarial"]["images"] == 10
    asked.evaluation.adversarial.epsilons = [0.1, 0.0]
    with pytest.raises(CapsbenchError, match=r"evaluation\.adversarial\.epsilons"):
        adversarial.evaluate(Linear(), two_classes, asked, cpu)
    config.evaluation.adversarial.enabled = False
    assert adversarial.evaluate(nn.Identity(), two_classes, config, cpu).numbers == {}
