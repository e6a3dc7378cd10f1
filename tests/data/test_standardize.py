import copy

import numpy as np
import pytest
import torch
from torch import nn

from capsbench.data.standardize import standardize_inputs, standardized

IMAGES = torch.from_numpy(np.random.default_rng(2).random((4, 3, 8, 8), dtype=np.float32))


def test_mean_and_variance_of_every_image():
    seen = standardized(IMAGES * torch.tensor([1, 0.5, 0.01, 2])[:, None, None, None] + 0.2)
    assert seen.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(seen.square().mean(dim=(1, 2, 3)), torch.ones(4), rtol=1e-3, atol=0)


def test_uniform_and_almost_uniform_images_stay_finite():
    flat = torch.full((2, 1, 10, 10), 0.5)
    flat[1, 0, 0, 0] += 1e-4
    seen = standardized(flat)
    assert not seen[0].any()
    # The bound for 100 pixels is a tenth of a grey level; what is left of 1e-4 after the mean is divided by it.
    assert seen[1].max() == pytest.approx(0.99 * 1e-4 * 255 * 10, rel=1e-2)


def test_a_model_sees_standardised_images_under_its_old_names():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    plain = copy.deepcopy(model)
    standardize_inputs(model)
    assert model.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(model(IMAGES), plain(standardized(IMAGES)))
    torch.testing.assert_close(model(3 * IMAGES + 1), model(IMAGES), rtol=1e-3, atol=1e-4)


def test_other_arguments_pass_through_and_gradients_flow():
    class WithLabels(nn.Module):
        def forward(self, images, labels=None, *, extra=0):
            return images.sum(dim=(1, 2, 3)) * labels + extra

    model = WithLabels()
    standardize_inputs(model)
    pixels = IMAGES.clone().requires_grad_()
    out = model(pixels, torch.arange(4), extra=1.0)
    torch.testing.assert_close(out, torch.ones(4), atol=1e-3, rtol=0)
    out.square().sum().backward()
    assert pixels.grad.isfinite().all()
