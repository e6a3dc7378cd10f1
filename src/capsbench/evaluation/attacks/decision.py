"""RayS, an attack that sees only the predicted class (Chen and Gu 2020, "RayS: a ray searching method").

A model whose gradients are flat or noisy (saturated squashing, unrolled routing) looks robust against attacks that
follow gradients without being so (Athalye, Carlini and Wagner 2018). This one cannot be misled that way: it looks for
the corner of the cube, a sign for each pixel, in whose direction the decision changes soonest. It starts with all
pixels brighter and turns the signs of ever smaller blocks of pixels, keeping what brings the boundary closer; bisection
finds how close. Because it minimises the distance, one search answers for every epsilon.

Letters: B batch.
"""

import math
from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from capsbench.evaluation.attacks.gradient import Images, Labels
from capsbench.evaluation.predict import Precision

TOLERANCE = 1e-3


def rays(
    model: nn.Module, images: Images, labels: Labels, queries: int, precision: Precision = nullcontext
) -> tuple[Float32[Tensor, " batch"], Images]:
    """How far away each image's decision changes, in the maximum norm.

    Args:
        model: in eval mode.
        images: pixels in [0, 1], on the model's device.
        labels: true classes.
        queries: predictions that may be asked for of each image.
        precision: makes the context of a forward pass.

    Returns:
        Smallest distance found: 0 where the model is wrong already, infinite where nothing was found; and the images at
        these distances (unchanged where nothing was found).
    """
    search = _Search(model, images, labels, queries, precision)
    everything = torch.arange(len(images), device=images.device)
    search.distance[search.fooled(everything, images)] = 0
    search.consider(everything, search.signs)
    pixels = images[0].numel()
    level, block = 0, 0
    while True:
        going = ((search.left > 0) & (search.distance > TOLERANCE)).nonzero()[:, 0]
        if not len(going):
            break
        size = math.ceil(pixels / 2**level)
        turned = search.signs[going].flatten(1)
        turned[:, block * size : (block + 1) * size] *= -1
        search.consider(going, turned.reshape(-1, *images.shape[1:]))
        block += 1
        if block * size >= pixels:
            level, block = (level + 1 if size > 1 else 0), 0
    finite = torch.isfinite(search.distance)
    reach = torch.where(finite, search.distance, 0)[:, None, None, None]
    return search.distance, (images + reach * search.signs).clamp(0, 1)


class _Search:
    """The best corner of every image so far."""

    def __init__(
        self, model: nn.Module, images: Images, labels: Labels, queries: int, precision: Precision = nullcontext
    ) -> None:
        self.model, self.images, self.labels, self.precision = model, images, labels, precision
        self.signs = torch.ones_like(images)
        self.distance = torch.full((len(images),), torch.inf, device=images.device)
        self.left = torch.full((len(images),), queries, device=images.device)

    def fooled(self, which: Int64[Tensor, " some"], moved: Images) -> Bool[Tensor, " some"]:
        """Ask the model about one moved image each."""
        with torch.no_grad(), self.precision():
            predicted = self.model(moved).scores.argmax(dim=1)
        self.left[which] -= 1
        changed: Tensor = predicted != self.labels[which]
        return changed

    def consider(self, which: Int64[Tensor, " some"], signs: Images) -> None:
        """Take over new corners for those images whose decision changes sooner that way."""
        reach = self.distance[which].clamp(max=1)
        closer = self.fooled(which, self._at(which, signs, reach)) & (self.distance[which] > 0)
        which, signs, high = which[closer], signs[closer], reach[closer]
        low = torch.zeros_like(high)
        self.signs[which] = signs
        self.distance[which] = high
        going = torch.ones_like(high, dtype=torch.bool)
        while True:
            going &= (high - low > TOLERANCE) & (self.left[which] > 0)
            now = going.nonzero()[:, 0]
            if not len(now):
                break
            middle = (low[now] + high[now]) / 2
            fooled = self.fooled(which[now], self._at(which[now], signs[now], middle))
            high[now] = torch.where(fooled, middle, high[now])
            low[now] = torch.where(fooled, low[now], middle)
        self.distance[which] = high

    def _at(self, which: Int64[Tensor, " some"], signs: Images, reach: Float32[Tensor, " some"]) -> Images:
        return (self.images[which] + reach[:, None, None, None] * signs).clamp(0, 1)
