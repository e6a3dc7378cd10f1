"""DeepCaps' routed convolution against one capsule, one position, one equation at a time."""

import math

import torch
from torch.nn import functional

from capsbench.models.deepcaps import RoutedConvolution


def routed_by_loops(layer, maps):
    """Rajasegaran et al. 2019, section 3.2, as `deepcaps.py` has it: softmax over parents and positions together."""
    inputs, _, rows, columns = maps.shape
    parents = [(j, y, x) for j in range(layer.types) for y in range(rows) for x in range(columns)]
    places = [(y, x) for y in range(rows) for x in range(columns)]
    votes = [
        functional.conv2d(maps[i][None], layer.votes.weight, padding=1)[0].view(layer.types, layer.dim, rows, columns)
        for i in range(inputs)
    ]
    logits = [dict.fromkeys(parents, torch.tensor(0.0, dtype=maps.dtype)) for _ in range(inputs)]
    poses = torch.zeros(layer.types, layer.dim, rows, columns, dtype=maps.dtype)
    for iteration in range(layer.iterations):
        sums = layer.bias_JD[:, :, None, None] + torch.zeros_like(poses)
        for i in range(inputs):
            total = sum(logits[i][parent].exp() for parent in parents)
            for j, y, x in parents:
                sums[j, :, y, x] = sums[j, :, y, x] + logits[i][j, y, x].exp() / total * votes[i][j, :, y, x]
        for j in range(layer.types):
            length = torch.sqrt(sum((sums[j, :, y, x] ** 2).sum() for y, x in places))
            poses[j] = length**2 / (1 + length**2) * sums[j] / length
        if iteration < layer.iterations - 1:
            for i in range(inputs):
                for j, y, x in parents:
                    logits[i][j, y, x] = logits[i][j, y, x] + (votes[i][j, :, y, x] * poses[j, :, y, x]).sum()
    return poses


def test_routing_by_convolution_equals_loops():
    torch.manual_seed(0)
    layer = RoutedConvolution(3, 2, 4, iterations=3).double()
    maps = torch.randn(2, 5, 3, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        # As large as trained weights make agreements, so that coupling is far from uniform.
        layer.votes.weight *= 2
        found = layer(maps)
        expected = torch.stack([routed_by_loops(layer, one) for one in maps])
    torch.testing.assert_close(found, expected)
    assert math.prod(found.shape) == 2 * 2 * 4 * 2 * 3
