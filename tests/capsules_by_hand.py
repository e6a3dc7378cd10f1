"""Small random capsules in double precision, and the parts that slow reference loops share."""

import torch
from torch import Tensor

from capsbench.capsules.votes import FactoredVotes

BATCH, INPUTS, OUTPUTS, IN_DIM, DIM = 2, 5, 3, 3, 4


def random_capsules(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Poses BID, matrices JDIE and activations BI, all leaves."""
    draw = torch.Generator().manual_seed(seed)
    poses = torch.randn(BATCH, INPUTS, IN_DIM, generator=draw, dtype=torch.float64)
    matrices = torch.randn(OUTPUTS, IN_DIM, INPUTS, DIM, generator=draw, dtype=torch.float64)
    activations = torch.rand(BATCH, INPUTS, generator=draw, dtype=torch.float64)
    return poses.requires_grad_(), matrices.requires_grad_(), activations.requires_grad_()


def random_numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def votes_by_hand(poses_ID: Tensor, matrices_JDIE: Tensor) -> list[list[Tensor]]:
    """u_j|i = W_ij u_i as votes[i][j], one number at a time."""
    votes = []
    for i, u in enumerate(poses_ID):
        row = [
            torch.stack([sum(u[d] * W[d, e] for d in range(len(u))) for e in range(W.shape[1])])
            for W in matrices_JDIE[:, :, i]
        ]
        votes.append(row)
    return votes


def factored(poses: Tensor, matrices: Tensor) -> FactoredVotes:
    return FactoredVotes(poses, matrices)


def assert_same_gradients(fast: Tensor, slow: Tensor, leaves: list[Tensor]) -> None:
    """Both scalars have the same value and the same gradient to every leaf."""
    torch.testing.assert_close(fast, slow)
    for one, other in zip(torch.autograd.grad(fast, leaves), torch.autograd.grad(slow, leaves), strict=True):
        torch.testing.assert_close(one, other)
