"""Losses as pure functions of scores and targets.

Letters: B batch, J classes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from capsbench.config_models import MarginForm


def margin_loss(
    lengths_BJ: Float[Tensor, "batch classes"],
    targets_BJ: Float[Tensor, "batch classes"],
    *,
    form: MarginForm,
    positive: float = 0.9,
    negative: float = 0.1,
    down_weight: float = 0.5,
) -> Float[Tensor, ""]:
    """T_k max(0, m+ - |v_k|)^2 + lambda (1 - T_k) max(0, |v_k| - m-)^2 (Sabour et al. 2017, eq. 4).

    `paper` sums over the classes and averages over the batch. `official` is what the released code minimises: half of
    that per class, averaged over batch and classes, which is the paper's value divided by twice the number of classes.
    The reconstruction loss is not divided, so relative to it the official margin loss is 20 times weaker at 10 classes.

    Args:
        lengths_BJ: lengths of the class capsules.
        targets_BJ: 1 where the class is present, else 0; several classes may be present.
        form: `paper` or `official`.
        positive: m+, the length above which a present class costs nothing.
        negative: m-, the length below which an absent class costs nothing.
        down_weight: lambda.
    """
    present = targets_BJ * functional.relu(positive - lengths_BJ).square()
    absent = down_weight * (1 - targets_BJ) * functional.relu(lengths_BJ - negative).square()
    per_class_BJ = present + absent
    return 0.5 * per_class_BJ.mean() if form is MarginForm.official else per_class_BJ.sum(dim=1).mean()


def spread_loss(
    activations_BJ: Float[Tensor, "batch classes"],
    labels_B: Int[Tensor, " batch"],
    margin: Float[Tensor, ""] | float,
    *,
    form: MarginForm,
) -> Float[Tensor, ""]:
    """sum_{k != t} max(0, m - (a_t - a_k))^2 (Hinton, Sabour and Frosst 2018, eq. 3).

    Args:
        activations_BJ: activations of the class capsules.
        labels_B: t, the class that is present.
        margin: m, which grows during training so that few capsules die early.
        form: `paper` sums over the classes and averages over the batch, `official` averages over both, as the released
            code does.
    """
    target_B1 = activations_BJ.gather(1, labels_B[:, None])
    others_BJ = 1 - functional.one_hot(labels_B, activations_BJ.shape[1]).to(activations_BJ.dtype)
    per_class_BJ = others_BJ * functional.relu(margin - (target_B1 - activations_BJ)).square()
    return per_class_BJ.mean() if form is MarginForm.official else per_class_BJ.sum(dim=1).mean()


def nll_loss(activations_BJ: Float[Tensor, "batch classes"], labels_B: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """-log(a_t / sum_k a_k), the loss of Hahn, Pyeon and Kim 2019 for every routing algorithm they compare.

    Self-routing's activations sum to one by themselves.
    """
    tiny = torch.finfo(torch.float32).tiny
    logs_BJ = activations_BJ.float().clamp_min(tiny).log()
    return functional.nll_loss(logs_BJ - logs_BJ.logsumexp(dim=1, keepdim=True), labels_B)


def cross_entropy_loss(logits_BJ: Float[Tensor, "batch classes"], labels_B: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the softmax of the logits, in single precision."""
    return functional.cross_entropy(logits_BJ.float(), labels_B)


def multi_label_loss(
    logits_BJ: Float[Tensor, "batch classes"], targets_BJ: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Cross-entropy of each class's own sigmoid, summed over the classes and averaged over the batch.

    What the CNN baseline of Sabour et al. 2017 (section 6) learns pairs of digits with.
    """
    return (
        functional.binary_cross_entropy_with_logits(logits_BJ.float(), targets_BJ.float(), reduction="none")
        .sum(dim=1)
        .mean()
    )


def reconstruction_loss(
    reconstruction: Float[Tensor, "batch *digits channels height width"],
    images: Float[Tensor, "batch *digits channels height width"],
) -> Float[Tensor, ""]:
    """Squared error summed over pixels, and over the digits that are rebuilt, averaged over the batch.

    Sabour et al. 2017, sections 4.1 and, for two digits in one image, 6.
    """
    return torch.square(reconstruction - images).flatten(1).sum(dim=1).mean()
