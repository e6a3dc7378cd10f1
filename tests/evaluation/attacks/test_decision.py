import pytest
import torch

from capsbench.evaluation.attacks.decision import rays
from capsbench.models.output import Output

from .linear import Linear, grey


@pytest.mark.parametrize("flat", [False, True])
def test_finds_the_distance_to_a_plane(flat):
    model, images = Linear(size=4, flat=flat), grey(12, size=4)
    labels = model(images).scores.argmax(dim=1)
    distance, moved = rays(model, images, labels, queries=1500)
    against = (model.weight[1] - model.weight[0]).detach()
    margins = (images.flatten(1) @ against).abs()
    assert distance == pytest.approx((margins / against.abs().sum()).clamp(min=0), abs=2.5e-3)
    assert (model(moved).scores.argmax(dim=1) != labels).all()
    assert ((moved - images).abs().flatten(1).amax(dim=1) <= distance + 1e-6).all()


def test_wrong_images_are_at_zero_and_unbreakable_ones_nowhere():
    model, images = Linear(), grey(10)
    labels = model(images).scores.argmax(dim=1)
    distance, moved = rays(model, images, 1 - labels, queries=50)
    assert distance.tolist() == [0] * 10
    assert torch.equal(moved, images)

    class Constant(torch.nn.Module):
        def forward(self, images, labels=None):
            return Output(torch.tensor([1.0, 0.0]).repeat(len(images), 1))

    distance, moved = rays(Constant(), images, torch.zeros(10, dtype=torch.long), queries=50)
    assert torch.isinf(distance).all()
    assert torch.equal(moved, images)


def test_no_image_costs_more_queries_than_allowed_and_more_queries_help():
    images = grey(8, size=8)
    found = []
    for queries in (40, 600):
        model = Linear(classes=3, size=8, seed=5)
        labels = model(images).scores.argmax(dim=1)
        model.seen.clear()
        found.append(rays(model, images, labels, queries)[0])
        assert sum(map(len, model.seen)) <= 8 * (queries + 2)
    assert (found[1] <= found[0] + 1e-3).all()
    assert found[1].mean() < 0.8 * found[0].mean()


def test_distances_do_not_depend_on_the_batch():
    model, images = Linear(classes=3), grey(6)
    labels = model(images).scores.argmax(dim=1)
    together, _ = rays(model, images, labels, 300)
    alone = torch.cat([rays(model, images[i : i + 1], labels[i : i + 1], 300)[0] for i in range(6)])
    assert together == pytest.approx(alone, abs=1e-3)
