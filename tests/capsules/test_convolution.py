"""Convolutions as matrix products against PyTorch's own, in double precision, eager and compiled."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from capsbench.capsules import convolution
from capsbench.capsules.convolution import Convolution, convolve

# batch, in and out channels, height, width, kernel, stride, padding
SHAPES = [
    (3, 4, 5, 12, 12, 5, 2, 0),
    (3, 1, 5, 11, 11, 3, 1, 0),
    (2, 3, 4, 10, 13, 3, 3, 1),
    (2, 3, 4, 9, 8, 5, 1, 2),
    (2, 2, 3, 11, 9, 2, 3, 0),
    (1, 3, 2, 7, 7, 7, 2, 0),
]


def example(shape):
    batch, inputs, outputs, height, width, kernel, stride, padding = shape
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(batch, inputs, height, width, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(outputs, inputs, kernel, kernel, dtype=torch.float64, generator=generator, requires_grad=True)
    return maps, weight, stride, padding


def values_and_gradients(call, maps, weight):
    sums = call(maps, weight)
    maps.grad = weight.grad = None
    (sums**2 * torch.linspace(-1, 1, sums.numel(), dtype=sums.dtype).view_as(sums)).sum().backward()
    return [sums.detach(), maps.grad, weight.grad]


def plain(stride, padding):
    return lambda maps, weight: functional.conv2d(maps, weight, stride=stride, padding=padding)


@pytest.fixture(params=[True, False], ids=["matrix unit", "no matrix unit"])
def any_unit(request, monkeypatch):
    """As if this processor had a matrix unit, and as if it had none, whatever it is."""
    monkeypatch.setattr(convolution, "HAS_MATRIX_UNIT", request.param)


@pytest.mark.usefixtures("any_unit")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("patch_values", [convolution.PATCH_VALUES, 1])
def test_equals_pytorch(shape, patch_values, monkeypatch):
    monkeypatch.setattr(convolution, "PATCH_VALUES", patch_values)
    maps, weight, stride, padding = example(shape)
    expected = values_and_gradients(plain(stride, padding), maps, weight)
    found = values_and_gradients(lambda m, w: convolve(m, w, stride, padding), maps, weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("any_unit")
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_gradients_are_those_of_the_function(shape):
    maps, weight, stride, padding = example(shape)
    assert torch.autograd.gradcheck(lambda m, w: convolve(m, w, stride, padding), (maps, weight))


@pytest.mark.usefixtures("any_unit")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_form_that_is_compiled_equals_pytorch(shape, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    test_equals_pytorch(shape, convolution.PATCH_VALUES, monkeypatch)


COMPILED = """
import torch
from capsbench.capsules.convolution import convolve
maps = torch.randn(3, 4, 12, 12, dtype=torch.float64, requires_grad=True)
weight = torch.randn(5, 4, 5, 5, dtype=torch.float64, requires_grad=True)
found = torch.compile(lambda: convolve(maps, weight, 2, 0))()
expected = torch.nn.functional.conv2d(maps, weight, stride=2)
torch.testing.assert_close(found, expected)
torch.testing.assert_close(*(torch.autograd.grad(y.pow(3).sum(), (maps, weight)) for y in (found, expected)))
"""


@pytest.mark.slow
def test_compiled_equals_pytorch():
    # In a process of its own: the compiler cannot see through the checks of shapes that tests are under.
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=240)


def test_channels_last_changes_nothing():
    maps, weight, stride, padding = example(SHAPES[0])
    expected = convolve(maps, weight, stride, padding)
    last = torch.channels_last
    found = convolve(maps.to(memory_format=last), weight.to(memory_format=last), stride, padding)
    torch.testing.assert_close(found, expected)


@pytest.fixture
def matrix_unit(monkeypatch):
    """As if this processor had one, whatever it is."""
    monkeypatch.setattr(convolution, "HAS_MATRIX_UNIT", True)


@pytest.mark.usefixtures("matrix_unit")
@pytest.mark.parametrize("bias", [True, False])
def test_under_autocast_it_is_the_bf16_convolution(bias, monkeypatch):
    torch.manual_seed(0)
    layer = Convolution(4, 8, 7, 2, bias=bias)
    images = torch.rand(3, 4, 14, 14)
    calls = []
    monkeypatch.setattr(convolution, "convolve", lambda *given: calls.append(given) or convolve(*given))
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(images)
    assert len(calls) == 1
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), nn.Conv2d.forward(layer, images), atol=0.02, rtol=0.02)


@pytest.mark.usefixtures("matrix_unit")
@pytest.mark.parametrize(("kernel", "padding", "autocast"), [(7, 0, False), (5, 0, True), (7, "same", True)])
def test_elsewhere_it_is_pytorchs_own(kernel, padding, autocast, monkeypatch):
    monkeypatch.setattr(convolution, "convolve", None)
    layer = Convolution(1, 2, kernel, padding=padding)
    images = torch.rand(1, 1, 9, 9)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        torch.testing.assert_close(layer(images), nn.Conv2d.forward(layer, images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("outputs", "stride", "training", "products"),
    [(256, 2, True, True), (256, 2, False, False), (255, 2, True, False), (256, 1, True, False)],
)
def test_without_a_matrix_unit_only_slow_weight_gradients_are_products(
    outputs, stride, training, products, monkeypatch
):
    monkeypatch.setattr(convolution, "HAS_MATRIX_UNIT", False)
    calls = []
    monkeypatch.setattr(convolution, "convolve", lambda *given: calls.append(given) or convolve(*given))
    layer = Convolution(1, outputs, 7, stride)
    images = torch.rand(1, 1, 9, 9)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
        torch.testing.assert_close(layer(images), nn.Conv2d.forward(layer, images), rtol=0.02, atol=0.02)
    assert bool(calls) == products
