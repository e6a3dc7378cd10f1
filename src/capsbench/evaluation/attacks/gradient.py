"""Attacks that follow the gradient: one step (FGSM), and many from random starts (PGD).

Both raise the margin by which the best wrong class beats the true one, instead of the training loss: it means the same
for logits and for capsule lengths, and its gradient does not vanish with a saturated softmax (Carlini and Wagner 2017).

Letters: B batch, J classes.
"""

from contextlib import nullcontext

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from capsbench.evaluation.predict import Precision

Images = Float32[Tensor, "batch channels height width"]
Labels = Int64[Tensor, " batch"]


def margin(scores_BJ: Float[Tensor, "batch classes"], labels_B: Labels) -> Float32[Tensor, " batch"]:
    """Largest wrong score minus the true one; not negative where the model is wrong, or undecided."""
    scores_BJ = scores_BJ.float()
    true_BJ = functional.one_hot(labels_B, scores_BJ.shape[1]).bool()
    wrong: Tensor = scores_BJ.masked_fill(true_BJ, -torch.inf).amax(dim=1)
    return wrong - scores_BJ.masked_select(true_BJ)


def ascent(
    model: nn.Module, images: Images, labels: Labels, precision: Precision = nullcontext
) -> tuple[Images, Float32[Tensor, " batch"]]:
    """Sign of the margin's gradient for every pixel, and the margin itself."""
    with torch.enable_grad():
        moved = images.detach().requires_grad_()
        with precision():
            scores = model(moved).scores
        margins = margin(scores, labels)
        (gradient,) = torch.autograd.grad(margins.sum(), moved)
    return gradient.sign(), margins.detach()


def fgsm(images: Images, direction: Images, epsilon: float) -> Images:
    """X + epsilon sign(gradient), cut to [0, 1] (Goodfellow, Shlens and Szegedy 2015).

    Args:
        images: x, pixels in [0, 1].
        direction: sign of the gradient, of `ascent`.
        epsilon: change of a pixel.
    """
    return (images + epsilon * direction).clamp(0, 1)


def pgd(
    model: nn.Module,
    images: Images,
    labels: Labels,
    epsilon: float,
    *,
    steps: int,
    restarts: int,
    generator: torch.Generator,
    precision: Precision = nullcontext,
) -> tuple[Images, Bool[Tensor, " batch"]]:
    """Projected gradient ascent in the cube of half side `epsilon` about each image (Madry et al. 2018).

    The step is 2.5 epsilon / steps, as theirs. The first attack starts at the image itself, the others at random points
    of the cube. Images that are misclassified at any step are done and cost nothing more.

    Args:
        model: in eval mode.
        images: pixels in [0, 1], on the model's device.
        labels: true classes.
        epsilon: largest change of a pixel.
        steps: gradient steps of each attack.
        restarts: attacks.
        generator: on the CPU, for the random starts.
        precision: makes the context of a forward pass.

    Returns:
        The images found, and which of them are misclassified.
    """
    found, broken = images.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
    rate = 2.5 * epsilon / steps
    for attack in range(restarts):
        noise = torch.rand(images.shape, generator=generator).to(images.device) * 2 - 1
        left = (~broken).nonzero()[:, 0]
        if not len(left):
            break
        clean, classes = images[left], labels[left]
        moved = (clean + epsilon * noise[left]).clamp(0, 1) if attack else clean.clone()
        for step in range(steps + 1):
            direction, margins = ascent(model, moved, classes, precision)
            done = margins >= 0
            broken[left[done]] = True
            found[left] = moved
            if step == steps or bool(done.all()):
                break
            left, clean, classes = left[~done], clean[~done], classes[~done]
            ahead = moved[~done] + rate * direction[~done]
            moved = torch.minimum(torch.maximum(ahead, clean - epsilon), clean + epsilon).clamp(0, 1)
    return found, broken
