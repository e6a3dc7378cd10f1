"""One transformation for all input capsules, and no routing (Gu and Tresp 2020, affine capsule networks).

They show that routing can be left out, that uniform coupling does no worse, and that sharing the matrix is what makes
a CapsNet robust to affine transformations (79 % to 93.21 % on affNIST): read in the abstract (arXiv:1911.07968) and
in public summaries of the paper, which say that one transformation serves all primary capsules. That there is one
matrix for each class and that the sum is divided by J, as in the first iteration of dynamic routing, is as recalled:
no code is public.

Letters: B batch, I input capsules, J output capsules, D input and E output pose dimensions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import activation_of, at_least_fp32, squash
from capsbench.config_models import Squash


def shared_transform(
    poses_BID: Float[Tensor, "batch in_caps in_dim"],
    transforms_JDE: Float[Tensor, "out_caps in_dim out_dim"],
    bias_JE: Float[Tensor, "out_caps out_dim"] | None = None,
    *,
    squash_kind: Squash = Squash.hinton,
    with_coupling: bool = False,
) -> Routed:
    """v_j = squash(W_j (1 / J) sum_i u_i + b_j).

    As the matrix is the same for all of them, input capsules can be summed before they are transformed.

    Args:
        poses_BID: input poses.
        transforms_JDE: one matrix per output capsule.
        bias_JE: added before squashing.
        squash_kind: squashing function.
        with_coupling: return the uniform coupling, as one iteration.
    """
    batch, inputs, _ = poses_BID.shape
    outputs = len(transforms_JDE)
    mean_BD = at_least_fp32(poses_BID).sum(dim=1) / outputs
    sums_BJE = at_least_fp32(torch.einsum("bd,jde->bje", mean_BD, transforms_JDE))
    poses_BJE = squash(sums_BJE if bias_JE is None else sums_BJE + bias_JE, squash_kind)
    coupling = sums_BJE.new_full((), 1 / outputs).expand(1, batch, inputs, outputs) if with_coupling else None
    return Routed(poses_BJE, activation_of(poses_BJE, squash_kind), coupling)
