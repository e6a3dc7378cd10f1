import math

import numpy as np
import pytest
import torch
from torch import nn

from capsbench.config_models import CapsNet, Cnn, Routing, RoutingAlgorithm
from capsbench.data.splits import Splits
from capsbench.evaluation import routing_health
from capsbench.evaluation.routing_health import coupling_entropy
from capsbench.models.build import build_model
from capsbench.models.output import Output


class Scripted(nn.Module):
    """Four primary and three class capsules whose coupling is uniform at first and then hangs on the first pixel.

    Capsules 0 and 1 go to class 0; 2 and 3 go to class 1, or to class 2 where the first pixel is bright. Capsule 0 is
    dead, capsule 1 held up at a constant length. Class 2 never wins.
    """

    def forward(self, images, labels=None, *, with_routing=False):
        assert with_routing
        bright = images[:, 0, 0, 0] > 0.5
        coupling = torch.zeros(2, len(images), 4, 3)
        coupling[0] = 1 / 3
        coupling[1, :, :2, 0] = 1
        coupling[1, ~bright, 2:, 1] = 1
        coupling[1, bright, 2:, 2] = 1
        lengths = torch.stack([torch.full_like(bright, value, dtype=torch.float) for value in (0.001, 0.5, 0, 0)], 1)
        lengths[:, 2:] = bright[:, None] * 0.8
        scores = torch.stack([bright * 0.9, ~bright * 0.9, torch.full_like(lengths[:, 0], 0.2)], dim=1)
        return Output(scores, None, None, coupling, lengths)


@pytest.fixture
def scripted() -> Splits:
    images = torch.zeros(40, 1, 4, 4, dtype=torch.uint8)
    images[:10, 0, 0, 0] = 255
    labels = torch.zeros(40, dtype=torch.long)
    return Splits(images, labels, images, labels, images, labels, ("a", "b", "c"))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_numbers_of_a_scripted_model(config, cpu, scripted, batch_size):
    config.trainer.eval_batch_size = batch_size
    answer = routing_health.evaluate(Scripted(), scripted, config, cpu)
    assert answer.numbers == {
        "routing/coupling_entropy": pytest.approx(0, abs=1e-9),
        # 4 of the 12 pairs switch between 0 and 1 with a share of a quarter.
        "routing/coupling_variance": pytest.approx(4 / 12 * 0.25 * 0.75),
        "routing/dead_class": pytest.approx(1 / 3),
        "routing/dead_primary": pytest.approx(1 / 4),
        "routing/static_primary": pytest.approx(2 / 4),
    }
    figure = answer.figures["routing"]
    assert figure["entropy_by_iteration"] == pytest.approx([1, 0], abs=1e-6)
    first, last = figure["coupling_histogram"]["share_by_iteration"]
    assert first[6] == 1.0
    assert sum(first) == 1.0
    assert (last[0], last[19]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert figure["coupling_histogram"]["edges"][6] == 0.3


def test_entropy_by_hand_and_among_the_routed_when_coupling_leaks():
    coupling = torch.tensor([0.5, 0.25, 0.25, 0.0])
    expected = (0.5 * math.log(2) + 0.5 * math.log(4)) / math.log(4)
    assert coupling_entropy(coupling.view(1, 1, 1, 4)).item() == pytest.approx(expected)
    assert coupling_entropy(0.3 * coupling.view(1, 1, 1, 4)).item() == pytest.approx(expected)
    assert coupling_entropy(torch.zeros(1, 1, 1, 4)).item() == 0


def test_a_capsnet_starts_uniform_and_a_cnn_has_no_routing(config, cpu, mnist):
    torch.manual_seed(0)
    small = CapsNet(stem_channels=8, primary_types=2, primary_dim=4, class_dim=4, routing=Routing(iterations=3))
    config.evaluation.routing_images = 30
    answer = routing_health.evaluate(build_model(small, 1, 28, 10).eval(), mnist, config, cpu)
    entropy = answer.figures["routing"]["entropy_by_iteration"]
    assert entropy[0] == pytest.approx(1, abs=1e-6)
    assert len(entropy) == 3
    assert entropy[2] < entropy[1] < entropy[0]
    assert answer.numbers["routing/coupling_entropy"] == entropy[2]
    assert 0 < answer.numbers["routing/coupling_variance"] < 0.1

    cnn = build_model(Cnn(channels=[2], kernels=[3], strides=[1], windows=[2]), 1, 28, 10).eval()
    assert routing_health.evaluate(cnn, mnist, config, cpu).numbers == {}
    config.evaluation.routing_images = 0
    assert routing_health.evaluate(Scripted(), mnist, config, cpu).numbers == {}


def test_the_map_of_a_grid_holds_the_coupling_with_the_true_class(config, cpu, scripted):
    model = Scripted()
    assert "coupling_map" not in routing_health.evaluate(model, scripted, config, cpu).figures["routing"]
    model.primary_shape = (2, 1, 2)
    labels = torch.where(scripted.test_images[:, 0, 0, 0] > 0, 2, 1)
    labels[-12:] = 0
    truths = Splits(
        scripted.test_images, labels, scripted.test_images, labels, scripted.test_images, labels, ("a", "b", "c")
    )
    first, last = routing_health.evaluate(model, truths, config, cpu).figures["routing"]["coupling_map"]
    assert np.array(first) == pytest.approx(np.ones((2, 1, 2)), abs=1e-4)
    # Capsules 0 and 1 go to class 0, true of 12 in 40 images; 2 and 3 to the one the pixel says, true of the others.
    assert np.array(last) == pytest.approx(np.array([[[0.9, 0.9]], [[2.1, 2.1]]]))


def capsnet(algorithm, **more):
    torch.manual_seed(0)
    routing = Routing(algorithm=RoutingAlgorithm(algorithm), **more)
    return build_model(
        CapsNet(stem_channels=8, primary_types=2, primary_dim=4, class_dim=4, routing=routing), 1, 28, 10
    )


def test_changed_predictions_are_counted_against_the_first_iteration(config, cpu, mnist):
    config.evaluation.routing_images = 60
    model = capsnet("dynamic", iterations=5).eval()
    # Large matrices polarise coupling, so that routing decides something before any training.
    with torch.no_grad():
        model.class_capsules.transforms_JDIE *= 30
    changed = routing_health.evaluate(model, mnist, config, cpu).numbers["routing/changed_predictions"]
    assert 0 < changed < 1
    assert model.class_capsules.routing.iterations == 5
    one = capsnet("dynamic", iterations=1).eval()
    assert routing_health.evaluate(one, mnist, config, cpu).numbers["routing/changed_predictions"] == 0


def test_algorithms_without_a_uniform_counterpart_have_no_changed_predictions(config, cpu, mnist):
    config.evaluation.routing_images = 20
    for algorithm in ("self_routing", "attention", "uniform"):
        numbers = routing_health.evaluate(capsnet(algorithm).eval(), mnist, config, cpu).numbers
        assert "routing/changed_predictions" not in numbers
        assert 0 < numbers["routing/coupling_entropy"] <= 1 + 1e-6
    assert routing_health.evaluate(capsnet("homogeneous").eval(), mnist, config, cpu).numbers == {}


def test_negative_coupling_counts_as_none():
    coupling = torch.tensor([0.5, 0.5, -0.2, 0.0]).view(1, 1, 1, 4)
    assert coupling_entropy(coupling).item() == pytest.approx(math.log(2) / math.log(4))
