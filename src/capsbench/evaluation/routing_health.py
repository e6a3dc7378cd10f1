"""Is routing alive: do coupling coefficients decide anything, and do capsules take part?

Mitterreiter, Koch, Giesen and Laue 2023 ("Why capsule neural networks do not scale") find dead capsules and coupling
that hardly depends on the input; Paik, Kwak and Kim 2019 find that more iterations only polarise it.

Letters: R routing iterations, B batch, I primary capsules, J class capsules.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsbench.capsules.class_capsules import ClassCapsules
from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.splits import Splits, shuffled
from capsbench.evaluation.predict import Precision, padded_batches
from capsbench.evaluation.result import Evaluated
from capsbench.models.output import Output

DEAD_LENGTH = 0.01
STATIC_DEVIATION = 0.01
HISTOGRAM_BINS = 20
ROUTING_STREAM = 12
# Coupling of all iterations is kept for a batch: 1152 capsules, 10 classes, 3 iterations are 14 MB for 100 images.
MOST_IMAGES = 100


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Entropy, variance and distribution of coupling, and the shares of capsules that do nothing.

    Args:
        model: in eval mode, on `device`; called with `with_routing=True`.
        splits: `evaluation.routing_images` of its test images are used, drawn with a fixed seed.
        cfg: reads `evaluation.routing_images`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers, all of the last iteration where iterations matter:
        `routing/coupling_entropy`, Shannon entropy of a primary capsule's coupling divided by log J (1: uniform, 0: one
        parent takes all), mean over capsules and images;
        `routing/coupling_variance`, variance of a coupling coefficient over images, mean over pairs (0: static);
        `routing/dead_primary`, share of primary capsules whose length is never above `DEAD_LENGTH`;
        `routing/static_primary`, share whose length varies over images by a standard deviation below
        `STATIC_DEVIATION`, which also finds capsules held up by their bias alone;
        `routing/dead_class`, share of class capsules that are never the longest;
        `routing/changed_predictions`, share of images that the same weights classify differently with uniform coupling
        (Paik et al. 2019), of models whose last layer is `class_capsules` and has a uniform counterpart.
        Figure `routing`: `entropy_by_iteration`, `coupling_histogram` (edges, and shares by iteration) and, of models
        whose primary capsules lie on a grid (`primary_shape`), `coupling_map`: the mean coupling with the true class
        over uniform coupling 1 / J, by iteration, type, row and column.
        Empty for models without routing, or without images.
    """
    count = min(cfg.evaluation.routing_images, len(splits.test_images))
    if count < 1:
        return Evaluated()
    chosen = torch.from_numpy(np.sort(shuffled(len(splits.test_images), 0, ROUTING_STREAM)[:count]))
    sums = Sums()
    with torch.inference_mode():
        size = min(cfg.trainer.eval_batch_size, MOST_IMAGES)
        images = splits.test_images[chosen.to(splits.test_images.device)]
        labels = torch.split(splits.test_labels[chosen.to(splits.test_labels.device)].to(device), size)
        for batch, classes in zip(padded_batches(images, device, size, cfg.data.pad), labels, strict=True):
            with precision():
                output = model(to_unit(batch), with_routing=True)
            if output.coupling is None:
                return Evaluated()
            sums.add(output, classes)
            if isinstance(layer := getattr(model, "class_capsules", None), ClassCapsules):
                with layer.uniform_coupling() as exists, precision():
                    if exists:
                        sums.compare(output, model(to_unit(batch)))
    return Evaluated(sums.numbers(), {"routing": sums.figures(getattr(model, "primary_shape", None))})


def coupling_entropy(
    coupling_RBIJ: Float[Tensor, "iterations batch in_caps classes"],
) -> Float[Tensor, "iterations batch in_caps"]:
    """Entropy of each primary capsule's coupling, divided by log J.

    Leaky routing lets coupling sum to less than one; it is scaled to sum to one first, so this is the entropy among
    the classes given that the capsule is routed at all. Self-attention's learned offset can make coefficients negative;
    those count as none.
    """
    tiny = torch.finfo(torch.float32).tiny
    shares = coupling_RBIJ.float().clamp_min(0)
    shares = shares / shares.sum(dim=-1, keepdim=True).clamp_min(tiny)
    entropy: Tensor = torch.special.entr(shares).sum(dim=-1)
    return entropy / math.log(coupling_RBIJ.shape[-1])


@dataclass
class Sums:
    """What is summed over batches, on the model's device; doubles, because variances are differences."""

    images: int = 0
    totals: dict[str, Tensor] = field(default_factory=dict)
    longest_primary: Tensor | None = None

    def add(self, output: Output, labels: Int64[Tensor, " batch"]) -> None:
        """Take in one batch with its coupling and its true classes."""
        assert output.coupling is not None
        coupling_RBIJ = output.coupling.float()
        self.images += len(output.scores)
        self._sum("entropy", coupling_entropy(coupling_RBIJ).double().mean(dim=2).sum(dim=1))
        # Not histc, which CUDA refuses when operations must be deterministic.
        bins = (coupling_RBIJ * HISTOGRAM_BINS).long().clamp(0, HISTOGRAM_BINS - 1).flatten(1)
        self._sum("histogram", torch.stack([one.bincount(minlength=HISTOGRAM_BINS) for one in bins]))
        true_BI1 = labels[:, None, None].expand(-1, coupling_RBIJ.shape[2], 1)
        true_RBI = torch.stack([one_BIJ.gather(2, true_BI1)[:, :, 0] for one_BIJ in coupling_RBIJ])
        self._sum("true_coupling", true_RBI.double().sum(dim=1))
        last_BIJ = coupling_RBIJ[-1].double()
        self._sum("coupling", last_BIJ.sum(dim=0))
        self._sum("coupling_squared", last_BIJ.square().sum(dim=0))
        classes = output.scores.shape[1]
        self._sum("wins", torch.bincount(output.scores.argmax(dim=1), minlength=classes))
        if output.primary_lengths is not None:
            lengths_BI = output.primary_lengths.double()
            self._sum("length", lengths_BI.sum(dim=0))
            self._sum("length_squared", lengths_BI.square().sum(dim=0))
            longest = lengths_BI.amax(dim=0)
            seen = self.longest_primary
            self.longest_primary = longest if seen is None else torch.maximum(seen, longest)

    def compare(self, routed: Output, uniform: Output) -> None:
        """Count the images of the last batch that uniform coupling classifies differently."""
        self._sum("changed", (routed.scores.argmax(dim=1) != uniform.scores.argmax(dim=1)).sum())

    def numbers(self) -> dict[str, float]:
        """Metrics over all images taken in."""
        numbers = {
            "routing/coupling_entropy": float(self.totals["entropy"][-1]) / self.images,
            "routing/coupling_variance": float(self._variance("coupling").mean()),
            "routing/dead_class": float((self.totals["wins"] == 0).double().mean()),
        }
        if "changed" in self.totals:
            numbers["routing/changed_predictions"] = float(self.totals["changed"]) / self.images
        if self.longest_primary is not None:
            deviation = self._variance("length").sqrt()
            numbers["routing/dead_primary"] = float((self.longest_primary <= DEAD_LENGTH).double().mean())
            numbers["routing/static_primary"] = float((deviation < STATIC_DEVIATION).double().mean())
        return numbers

    def figures(self, primary_shape: tuple[int, int, int] | None) -> dict[str, Any]:
        """Entropy and histogram of coupling by iteration; the map where capsules have types and positions."""
        histogram = self.totals["histogram"]
        figures: dict[str, Any] = {
            "entropy_by_iteration": (self.totals["entropy"] / self.images).tolist(),
            "coupling_histogram": {
                "edges": np.linspace(0, 1, HISTOGRAM_BINS + 1).round(6).tolist(),
                "share_by_iteration": (histogram / histogram.sum(dim=1, keepdim=True)).tolist(),
            },
        }
        true_RI = self.totals["true_coupling"] / self.images * len(self.totals["wins"])
        if primary_shape is not None and math.prod(primary_shape) == true_RI.shape[1]:
            figures["coupling_map"] = true_RI.cpu().numpy().round(4).reshape(-1, *primary_shape).tolist()
        return figures

    def _sum(self, name: str, value: Tensor) -> None:
        self.totals[name] = self.totals[name] + value if name in self.totals else value

    def _variance(self, name: str) -> Tensor:
        mean = self.totals[name] / self.images
        return (self.totals[f"{name}_squared"] / self.images - mean.square()).clamp_min(0)
