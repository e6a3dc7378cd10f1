import numpy as np
import pytest
import torch
from torch import nn

from capsbench.config_models import CapsNet
from capsbench.evaluation import perturbations
from capsbench.evaluation.perturbations import OFFSETS
from capsbench.models.build import build_model
from capsbench.models.output import Output


class Painter(nn.Module):
    """Paints column e of the image as bright as dimension e of the chosen capsule's pose, 0.5 being its own value."""

    def __init__(self):
        super().__init__()
        self.decoder = self.paint

    def paint(self, poses_BJE, chosen_B):
        picked = poses_BJE[torch.arange(len(poses_BJE)), chosen_B]
        others = poses_BJE.sum(dim=(1, 2)) - picked.sum(dim=1)
        assert torch.all(others == 0)
        return picked[:, None, None, :].expand(-1, 1, 28, 28)

    def forward(self, images, labels=None):
        poses = torch.zeros(len(images), 10, 28)
        poses[torch.arange(len(images)), torch.arange(len(images))] = 0.5
        return Output(torch.zeros(len(images), 10), poses)


def test_each_dimension_of_the_true_capsule_moves_alone(config, cpu, mnist):
    config.evaluation.perturbations = 4
    kept = perturbations.evaluate(Painter(), mnist, config, cpu).arrays
    assert kept["perturbed_labels"].tolist() == [0, 1, 2, 3]
    assert kept["perturbed"].shape == (4, 28, 11, 1, 28, 28)
    assert kept["perturbed_offsets"].tolist() == pytest.approx([-0.25 + 0.05 * step for step in range(11)])
    for dim in (0, 5, 27):
        rows = kept["perturbed"][2, dim, :, 0]
        assert rows[:, 3, dim].tolist() == [round(255 * (0.5 + offset)) for offset in OFFSETS]
        assert (np.delete(rows, dim, axis=2) == 128).all()


def test_no_offset_is_the_plain_reconstruction(config, cpu, mnist):
    torch.manual_seed(0)
    config.data.pad = 1
    cfg = CapsNet(stem_channels=4, primary_types=2, primary_dim=4, class_dim=3, decoder_hidden=[8])
    model = build_model(cfg, 1, 30, 10).eval()
    kept = perturbations.evaluate(model, mnist, config, cpu).arrays
    images, labels = torch.from_numpy(kept["perturbed_images"]), torch.from_numpy(kept["perturbed_labels"]).long()
    with torch.inference_mode():
        plain = model(images / 255, labels).reconstruction
    assert kept["perturbed"].shape == (3, 3, 11, 1, 30, 30)
    gap = kept["perturbed"][:, :, 5].astype(float) - 255 * plain[:, None].numpy()
    assert np.abs(gap).max() < 1


def test_nothing_without_a_decoder_or_when_none_are_wanted(config, cpu, mnist):
    plain = CapsNet(stem_channels=4, primary_types=2, primary_dim=4, class_dim=3, reconstruction=False)
    assert perturbations.evaluate(build_model(plain, 1, 28, 10).eval(), mnist, config, cpu).arrays == {}
    config.evaluation.perturbations = 0
    assert perturbations.evaluate(Painter(), mnist, config, cpu).arrays == {}
