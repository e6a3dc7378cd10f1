import pytest
import torch
from torch import nn

from capsbench.errors import CapsbenchError
from capsbench.evaluation import corruption
from capsbench.evaluation.corruption import CORRUPTIONS, corrupted
from capsbench.models.output import Output


class Templates(nn.Module):
    """Nearest class mean."""

    def __init__(self, images, labels, pad=0):
        super().__init__()
        images = nn.functional.pad(images, [pad] * 4).float() / 255
        self.means = torch.stack([images[labels == label].mean(dim=0).flatten() for label in range(10)])

    def forward(self, images, labels=None):
        return Output(-torch.cdist(images.flatten(1), self.means))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_seeded_changes_images_and_takes_any_shape(name, mnist):
    images = mnist.test_images[:8]
    first = corrupted(images, name, 3, 0)
    assert torch.equal(first, corrupted(images, name, 3, 0))
    assert not torch.equal(first, corrupted(images, name, 5, 0))
    for image, spoilt in zip(images, first, strict=True):
        assert (image != spoilt).float().mean() > 0.01
    if name not in ("scale", "brightness", "stripe", "canny_edges"):
        assert not torch.equal(first, corrupted(images, name, 3, 1))
    colour = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert corrupted(colour, name, 2, 0).shape == colour.shape


def test_a_template_matcher_is_measured(config, cpu, mnist):
    config.data.pad = 2
    asked = config.evaluation.corruption
    asked.enabled, asked.images, asked.severities = True, 120, [1, 5]
    model = Templates(mnist.train_images[:4000], mnist.train_labels[:4000], pad=2)
    found = corruption.evaluate(model, mnist, config, cpu)
    numbers, figure = found.numbers, found.figures["corruption"]
    assert len(figure["errors"]) == len(CORRUPTIONS) == 15
    clean = numbers["corruption/clean_error"]
    assert clean < 0.3
    for name, errors in figure["errors"].items():
        assert len(errors) == 2
        assert numbers[f"corruption/{name}_error"] == pytest.approx(sum(errors) / 2)
        if name in ("shear", "rotate", "translate", "scale", "zigzag"):
            assert errors[1] > errors[0] >= clean - 0.05
    mean = sum(numbers[f"corruption/{name}_error"] for name in CORRUPTIONS) / 15
    assert numbers["corruption/mean_error"] == pytest.approx(mean)
    curves = figure["curves"]
    assert curves["rotation"]["levels"][-1] == 180
    assert curves["translation"]["levels"] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    for curve in curves.values():
        assert curve["accuracy"][0] == pytest.approx(1 - clean)
        assert curve["accuracy"][len(curve["accuracy"]) // 2] < 1 - clean - 0.2
    config.trainer.eval_batch_size = 17
    assert corruption.evaluate(model, mnist, config, cpu).numbers == numbers


def test_off_by_default_and_refuses_other_severities(config, cpu, mnist):
    assert corruption.evaluate(nn.Identity(), mnist, config, cpu).numbers == {}
    config.evaluation.corruption.enabled = True
    for severities in ([0], [6], []):
        config.evaluation.corruption.severities = severities
        with pytest.raises(CapsbenchError, match=r"evaluation\.corruption\.severities"):
            corruption.evaluate(nn.Identity(), mnist, config, cpu)
