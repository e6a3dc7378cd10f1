import pytest
import torch
from torch import nn

from capsbench.evaluation import pose
from capsbench.models.output import Output


class Moments(nn.Module):
    """Capsules whose pose is the centre of mass and the spread of the ink; only the true class's is right."""

    def __init__(self, labels, shared=False):
        super().__init__()
        self.labels, self.shared, self.done = labels, shared, 0

    def forward(self, images, labels=None):
        assert labels is None
        count, size = len(images), images.shape[-1]
        place = torch.arange(size, dtype=torch.float32)
        mass = images.sum(dim=(1, 2, 3)) + 1e-6
        x = (images.sum(dim=(1, 2)) * place).sum(dim=1) / mass
        y = (images.sum(dim=(1, 3)) * place).sum(dim=1) / mass
        true = torch.stack([x, y, mass], dim=1)
        if self.shared:
            return Output(torch.zeros(count, 10), true[:, None])
        poses = torch.zeros(count, 10, 3)
        chosen = self.labels[self.done : self.done + count]
        self.done += count
        poses[torch.arange(count), chosen] = true
        return Output(torch.zeros(count, 10), poses)


class NoPoses(nn.Module):
    def forward(self, images, labels=None):
        return Output(torch.zeros(len(images), 10))


@pytest.mark.parametrize("shared", [False, True])
def test_poses_that_know_the_place_are_read(config, cpu, mnist, shared):
    config.evaluation.pose.enabled = True
    config.evaluation.pose.images = None
    config.data.pad = 6
    found = pose.evaluate(Moments(mnist.test_labels, shared), mnist, config, cpu)
    numbers = found.numbers
    assert numbers["pose/horizontal_translation_r2"] > 0.95
    assert numbers["pose/vertical_translation_r2"] > 0.95
    assert abs(numbers["pose/rotation_r2"]) < 0.35
    assert 0.2 < numbers["pose/thickness_r2"] < 1
    assert found.figures["pose"]["probed_size"] == 3
    assert len(found.figures["pose"]["targets"]) == len(numbers) - 1 == 7


def test_no_poses_no_numbers_and_off_by_default(config, cpu, mnist):
    assert pose.evaluate(Moments(mnist.test_labels), mnist, config, cpu).numbers == {}
    config.evaluation.pose.enabled = True
    config.evaluation.pose.images = 50
    assert pose.evaluate(NoPoses(), mnist, config, cpu).numbers == {}
    first = pose.evaluate(Moments(mnist.test_labels, shared=True), mnist, config, cpu)
    config.trainer.eval_batch_size = 7
    again = pose.evaluate(Moments(mnist.test_labels, shared=True), mnist, config, cpu)
    assert again.numbers == pytest.approx(first.numbers, abs=1e-5)
