"""ReLU equals PyTorch's, and so does its gradient, at zero too."""

import torch
from torch.nn import functional

from capsbench.capsules.relu import Relu, relu


def test_equals_pytorchs():
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-30, 3.0], requires_grad=True)
    weight = torch.arange(1.0, 6.0)
    for call in (relu, Relu()):
        assert torch.equal(call(x), functional.relu(x))
        (ours,) = torch.autograd.grad((call(x) * weight).sum(), x)
        (theirs,) = torch.autograd.grad((functional.relu(x) * weight).sum(), x)
        assert torch.equal(ours, theirs)


def test_a_nan_is_passed_on():
    assert relu(torch.tensor([float("nan")])).isnan().all()
