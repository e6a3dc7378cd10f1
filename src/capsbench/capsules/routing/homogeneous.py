"""Homogeneous vector capsules (Byerly, Kalganova and Dear 2021, "No routing needed between capsules").

A class capsule is an element-wise weighted sum of input capsules, so that every dimension keeps to itself; there are no
matrices and no routing. Confirmed in the authors' code (AdamByerly/BMCNNwHFCs, `nn_ops.py`).

Letters: B batch, I input capsules, J output capsules, D pose dimensions.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.result import Routed
from capsbench.capsules.squash import at_least_fp32


def homogeneous_capsules(
    poses_BID: Float[Tensor, "batch in_caps dim"],
    weights_JDI: Float[Tensor, "out_caps dim in_caps"],
    normalise: Callable[[Tensor], Tensor],
) -> Routed:
    """v_j = ReLU(BatchNorm(sum_i w_ij * u_i)), with * element by element; the class score is |v_j|, a logit.

    Args:
        poses_BID: input poses.
        weights_JDI: one vector per pair of input and output capsule.
        normalise: batch normalisation of (..., D) over everything but the last axis.
    """
    sums_BJD = at_least_fp32(torch.einsum("bid,jdi->bjd", poses_BID, weights_JDI))
    poses_BJD = torch.relu(normalise(sums_BJD))
    return Routed(poses_BJD, torch.linalg.vector_norm(poses_BJD, dim=-1), None)
