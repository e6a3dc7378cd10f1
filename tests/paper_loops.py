"""CapsNet as the paper writes it (Sabour, Frosst, Hinton 2017): one image, one capsule, one equation at a time.

Slow on purpose, so that it can be checked against the paper by reading. Works on double tensors, through which autograd
gives the gradients that the fast layers must have.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

Capsules = list[Tensor]


def squash(s: Tensor) -> Tensor:
    """Equation 1."""
    length = torch.sqrt(sum(x * x for x in s))
    return (length**2 / (1 + length**2)) * (s / length)


def squash_exponential(s: Tensor) -> Tensor:
    """Equation 5 of Mazzia et al. 2021."""
    length = torch.sqrt(sum(x * x for x in s))
    return (1 - torch.exp(-length)) * (s / length)


def length(v: Tensor) -> Tensor:
    return torch.sqrt(sum(x * x for x in v))


def convolve(maps: Tensor, kernels: Tensor, stride: int) -> Tensor:
    """Every output map, row and column is one scalar product of a window and a kernel; no padding."""
    size = kernels.shape[-1]
    rows = (maps.shape[1] - size) // stride + 1
    columns = (maps.shape[2] - size) // stride + 1
    outputs = []
    for kernel in kernels:
        for row in range(rows):
            for column in range(columns):
                top, left = row * stride, column * stride
                window = maps[:, top : top + size, left : left + size]
                outputs.append((window * kernel).sum())
    return torch.stack(outputs).reshape(len(kernels), rows, columns)


def primary_capsules(sums: Tensor, types: int, dim: int, squash=squash) -> Capsules:
    """Section 4: each capsule is made of `dim` channels of one position; types first, then rows, then columns."""
    capsules = []
    for kind in range(types):
        for row in range(sums.shape[1]):
            for column in range(sums.shape[2]):
                pose = [sums[kind * dim + d, row, column] for d in range(dim)]
                capsules.append(squash(torch.stack(pose)))
    return capsules


def cast_votes(capsules: Capsules, transforms_JDIE: Tensor) -> list[Capsules]:
    """Equation 2: u_j|i = W_ij u_i, as votes[i][j]."""
    votes = []
    for i, u in enumerate(capsules):
        matrices = transforms_JDIE[:, :, i]
        votes.append(
            [torch.stack([sum(W[d, e] * u[d] for d in range(len(u))) for e in range(W.shape[1])]) for W in matrices]
        )
    return votes


def softmax(logits: list[Tensor], *, leaky: bool) -> list[Tensor]:
    """Equation 3; leaky routing has one more parent, with logit zero, whose share is lost."""
    exponentials = [torch.exp(b) for b in logits]
    total = sum(exponentials) + (1 if leaky else 0)
    return [e / total for e in exponentials]


@dataclass
class Routing:
    """What routing ended with, and the coupling coefficients [iteration][i][j] on the way."""

    poses: Capsules
    coupling: list[list[list[float]]] = field(default_factory=list)


def route(
    votes: list[Capsules], bias: Tensor | None, iterations: int, *, leaky=False, detach=False, squash=squash
) -> Routing:
    """Procedure 1. With `detach` the last coupling coefficients are constants."""
    inputs, outputs = len(votes), len(votes[0])
    logits = [[torch.zeros((), dtype=torch.float64) for _ in range(outputs)] for _ in range(inputs)]
    found = Routing([])
    for iteration in range(iterations):
        coupling = [softmax(logits[i], leaky=leaky) for i in range(inputs)]
        if detach and iteration == iterations - 1:
            coupling = [[c.detach() for c in row] for row in coupling]
        found.coupling.append([[c.item() for c in row] for row in coupling])
        found.poses = []
        for j in range(outputs):
            s = sum(coupling[i][j] * votes[i][j] for i in range(inputs))
            found.poses.append(squash(s if bias is None else s + bias[j]))
        for i in range(inputs):
            for j in range(outputs):
                logits[i][j] = logits[i][j] + sum(u * v for u, v in zip(votes[i][j], found.poses[j], strict=True))
    return found


def decode(poses: Capsules, label: int, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Figure 2: everything but the capsule of the label is masked; ReLU between the layers, a sigmoid at the end."""
    masked = [pose if j == label else torch.zeros_like(pose) for j, pose in enumerate(poses)]
    values = torch.cat(masked)
    for number, (weight, bias) in enumerate(layers):
        values = torch.stack([sum(w * x for w, x in zip(row, values, strict=True)) for row in weight]) + bias
        if number < len(layers) - 1:
            values = torch.stack([torch.clamp(x, min=0) for x in values])
    return torch.stack([1 / (1 + torch.exp(-x)) for x in values])


def margin_loss(lengths: list[Tensor], label: int) -> Tensor:
    """Equation 4, summed over the classes, with m+ = 0.9, m- = 0.1, lambda = 0.5."""
    total = torch.zeros((), dtype=torch.float64)
    for k, v in enumerate(lengths):
        T = 1 if k == label else 0
        total = total + T * torch.clamp(0.9 - v, min=0) ** 2 + 0.5 * (1 - T) * torch.clamp(v - 0.1, min=0) ** 2
    return total
