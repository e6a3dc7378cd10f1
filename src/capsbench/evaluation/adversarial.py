"""Accuracy under attack: every pixel may change by at most epsilon, a share of full brightness.

Claims that capsules resist attacks rest on one-step attacks and single epsilons; Michels et al. 2019 ("On the
vulnerability of capsule networks to adversarial attacks") find none left at matched accuracy. So: curves over epsilon,
a strong gradient attack, an attack without gradients that shows when gradients are masked, and all images, not only
those that are right.
"""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from capsbench.config import Config
from capsbench.data.batches import to_unit
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.evaluation.attacks.decision import rays
from capsbench.evaluation.attacks.gradient import Images, Labels, ascent, fgsm, pgd
from capsbench.evaluation.predict import Precision
from capsbench.evaluation.result import Evaluated
from capsbench.evaluation.subset import subset

ATTACK_STREAM = 19


class Attacked(NamedTuple):
    """What the attacks made of a batch, for rising epsilons.

    Attributes:
        fgsm: smallest epsilon is first; whether the image is right after one step.
        pgd: the same after many steps; wrong at one epsilon is wrong at all larger ones.
        flat: whether the gradient is zero in every pixel.
    """

    fgsm: Float32[Tensor, "epsilons batch"]
    pgd: Float32[Tensor, "epsilons batch"]
    flat: Float32[Tensor, " batch"]


def evaluate(
    model: nn.Module, splits: Splits, cfg: Config, device: torch.device, precision: Precision = nullcontext
) -> Evaluated:
    """Accuracy of attacked test images by epsilon.

    Args:
        model: in eval mode, on `device`.
        splits: has the test images; padding may be changed too.
        cfg: reads `evaluation.adversarial`, `data.pad` and `trainer.eval_batch_size`.
        device: where the model is.
        precision: makes the context of a forward pass.

    Returns:
        Numbers `adversarial/fgsm_auc`, `adversarial/pgd_auc` and `adversarial/decision_auc`, areas under the curves of
        accuracy from epsilon 0 to the largest, in [0, 1]; `adversarial/flat_gradient`, share of images whose gradient
        is exactly zero; `adversarial/missed_by_pgd`, share of images that the decision attack breaks within an epsilon
        of the list at which PGD does not: well above 0, gradients are masked and PGD's curve says little;
        `adversarial/median_distance`, of the decision attack (absent where half of the images withstand it).
        Figure `adversarial`: epsilons, from 0, and accuracies. Empty when `evaluation.adversarial.enabled` is false.

    Raises:
        CapsbenchError: an epsilon is not above 0, or there is none.
    """
    asked, size = cfg.evaluation.adversarial, cfg.trainer.eval_batch_size
    if not asked.enabled:
        return Evaluated()
    epsilons = sorted(set(asked.epsilons))
    if not epsilons or epsilons[0] <= 0:
        raise CapsbenchError(f"evaluation.adversarial.epsilons={asked.epsilons}: expected numbers above 0")
    chosen = subset(len(splits.test_images), asked.images, asked.seed, ATTACK_STREAM)
    shown = functional.pad(splits.test_images.cpu()[chosen], [cfg.data.pad] * 4)
    labels = splits.test_labels.cpu()[chosen]
    generator = torch.Generator().manual_seed(asked.seed)
    found, distances = [], []
    for start in range(0, len(shown), size):
        images, classes = to_unit(shown[start : start + size].to(device)), labels[start : start + size].to(device)
        found.append(gradient_attacks(model, images, classes, epsilons, cfg, generator, precision))
        few = max(0, min(len(images), asked.decision_images - start))
        if few:
            distances.append(rays(model, images[:few], classes[:few], asked.decision_queries, precision)[0].cpu())
    right = {
        "fgsm": torch.cat([batch.fgsm for batch in found], dim=1),
        "pgd": torch.cat([batch.pgd for batch in found], dim=1),
    }
    numbers = {"adversarial/flat_gradient": torch.cat([batch.flat for batch in found]).double().mean().item()}
    if distances:
        distance = torch.cat(distances)
        levels = torch.tensor([0.0, *epsilons])
        right["decision"] = (distance[None, :] > levels[:, None]).float()
        missed = right["pgd"][:, : len(distance)] > right["decision"]
        numbers["adversarial/missed_by_pgd"] = missed.any(dim=0).double().mean().item()
        median = float(np.median(distance.numpy()))
        if np.isfinite(median):
            numbers["adversarial/median_distance"] = median
    curves = {name: each.double().mean(dim=1).tolist() for name, each in right.items()}
    levels_list = [0.0, *epsilons]
    for name, curve in curves.items():
        numbers[f"adversarial/{name}_auc"] = float(np.trapezoid(curve, levels_list) / levels_list[-1])
    about = {
        "epsilons": levels_list,
        "accuracy": curves,
        "images": len(chosen),
        "decision_images": sum(map(len, distances)),
        "steps": asked.steps,
        "restarts": asked.restarts,
        "decision_queries": asked.decision_queries,
    }
    return Evaluated(numbers, {"adversarial": about})


def gradient_attacks(
    model: nn.Module,
    images: Images,
    labels: Labels,
    epsilons: list[float],
    cfg: Config,
    generator: torch.Generator,
    precision: Precision = nullcontext,
) -> Attacked:
    """FGSM on all images at every epsilon; PGD at rising epsilons on those that have withstood the smaller ones."""
    asked = cfg.evaluation.adversarial
    direction, margins = ascent(model, images, labels, precision)
    standing = margins < 0
    one_step, many_steps = [standing.float()], [standing.float()]
    for epsilon in epsilons:
        with torch.no_grad(), precision():
            predicted = model(fgsm(images, direction, epsilon)).scores.argmax(dim=1)
        one_step.append((predicted == labels).float())
        left = standing.nonzero()[:, 0]
        if len(left):
            _, broken = pgd(
                model,
                images[left],
                labels[left],
                epsilon,
                steps=asked.steps,
                restarts=asked.restarts,
                generator=generator,
                precision=precision,
            )
            standing[left[broken]] = False
        many_steps.append(standing.float())
    flat = (direction == 0).flatten(1).all(dim=1)
    return Attacked(torch.stack(one_step).cpu(), torch.stack(many_steps).cpu(), flat.float().cpu())
