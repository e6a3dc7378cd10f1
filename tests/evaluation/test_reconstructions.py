import torch
from torch import nn

from capsbench.evaluation import reconstructions
from capsbench.evaluation.reconstructions import one_of_each
from capsbench.models.output import Output


class Negative(nn.Module):
    """Reconstructs the negative, and takes every digit for a 7."""

    def forward(self, images, labels=None):
        assert labels is None
        scores = torch.zeros(len(images), 10)
        scores[:, 7] = 1
        return Output(scores, None, 1 - images)


class NoDecoder(nn.Module):
    def forward(self, images, labels=None):
        return Output(torch.zeros(len(images), 10))


def test_shows_the_first_image_of_every_class(config, cpu, mnist):
    config.data.pad = 2
    kept = reconstructions.evaluate(Negative(), mnist, config, cpu).arrays
    assert kept["labels"].tolist() == list(range(10))
    assert kept["predicted"].tolist() == [7] * 10
    assert kept["images"].shape == kept["reconstructions"].shape == (10, 1, 32, 32)
    first = mnist.test_labels.tolist().index(4)
    assert torch.equal(torch.from_numpy(kept["images"][4, :, 2:-2, 2:-2]), mnist.test_images[first])
    assert (kept["images"].astype(int) + kept["reconstructions"] == 255).all()


def test_nothing_without_a_decoder_or_when_none_are_wanted(config, cpu, mnist):
    assert reconstructions.evaluate(NoDecoder(), mnist, config, cpu).arrays == {}
    config.evaluation.reconstructions = 0
    assert reconstructions.evaluate(Negative(), mnist, config, cpu).arrays == {}


def test_classes_take_turns():
    labels = torch.tensor([2, 2, 0, 2, 1, 0])
    assert one_of_each(labels, 4).tolist() == [2, 4, 0, 5]
    assert one_of_each(labels, 99).tolist() == [2, 4, 0, 5, 1, 3]
