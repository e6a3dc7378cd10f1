"""Votes: every input capsule predicts the pose of every output capsule through its own matrix, u_j|i = W_ij u_i.

Routing needs only two things of votes: their sum weighted by coupling coefficients, and their agreement with output
poses. Both are partial derivatives of one form that is linear in each of its four arguments,

    sum_bijde  c_bij  u_bid  W_jdie  t_bje

so both can be had without ever storing the votes (94 MB for CapsNet at batch 128, and as much again for every routing
iteration that is differentiated), and so can all their gradients: the gradient of the weighted sum to the coupling is
an agreement, and the other way round. `FactoredVotes` does that; `StoredVotes` is the textbook form, for algorithms
that need the votes themselves.

Letters: B batch, I input capsules, J output capsules, D input and E output pose dimensions, X = D * I. Poses are kept
with the capsule index last (BDI), so that sums over a pose's few dimensions run along whole vectors of capsules.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from capsbench.capsules.squash import at_least_fp32

Coupling = Float[Tensor, "out_caps batch in_caps"]
Poses = Float[Tensor, "batch out_caps dim"]


@runtime_checkable
class Votes(Protocol):
    """What a routing algorithm can ask of votes."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, input capsules, output capsules, output pose dimensions."""

    def uniform_sum(self) -> Poses:
        """(1 / J) sum_i u_j|i: the weighted sum of the first routing iteration."""

    def weighted_sum(self, coupling_JBI: Coupling) -> Poses:
        """s_j = sum_i c_ij u_j|i (Sabour et al. 2017, eq. 2), in single precision or better."""

    def agreement(self, poses_BJE: Poses) -> Coupling:
        """Scalar product of every vote with the pose of the output capsule it was cast for."""

    def stored(self) -> Float[Tensor, "batch in_caps out_caps dim"]:
        """The votes themselves."""

    def detached(self) -> "Votes":
        """The same votes, through which no gradient flows."""


class StoredVotes:
    """Votes held in memory."""

    def __init__(self, votes_BIJE: Float[Tensor, "batch in_caps out_caps dim"]) -> None:
        self.votes_BIJE = votes_BIJE

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, input capsules, output capsules, output pose dimensions."""
        batch, inputs, outputs, dim = self.votes_BIJE.shape
        return batch, inputs, outputs, dim

    def uniform_sum(self) -> Poses:
        """(1 / J) sum_i u_j|i."""
        return at_least_fp32(self.votes_BIJE).sum(dim=1) / self.shape[2]

    def weighted_sum(self, coupling_JBI: Coupling) -> Poses:
        """s_j = sum_i c_ij u_j|i."""
        return torch.einsum("jbi,bije->bje", coupling_JBI, at_least_fp32(self.votes_BIJE))

    def agreement(self, poses_BJE: Poses) -> Coupling:
        """Scalar products of votes and output poses."""
        return torch.einsum("bije,bje->jbi", at_least_fp32(self.votes_BIJE), poses_BJE)

    def stored(self) -> Float[Tensor, "batch in_caps out_caps dim"]:
        """The votes themselves."""
        return self.votes_BIJE

    def detached(self) -> "StoredVotes":
        """The same votes, through which no gradient flows."""
        return StoredVotes(self.votes_BIJE.detach())


class FactoredVotes:
    """Votes as input poses and transformation matrices, multiplied out only inside sums.

    Args:
        poses_BID: input poses.
        transforms_JDIE: one matrix per pair of input and output capsule.
    """

    def __init__(
        self,
        poses_BID: Float[Tensor, "batch in_caps in_dim"],
        transforms_JDIE: Float[Tensor, "out_caps in_dim in_caps out_dim"],
    ) -> None:
        dtype = product_dtype(poses_BID)
        self.poses_BDI = poses_BID.transpose(1, 2).to(dtype).contiguous()
        self.transforms_JDIE = transforms_JDIE.to(dtype)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, input capsules, output capsules, output pose dimensions."""
        outputs, _, inputs, dim = self.transforms_JDIE.shape
        return len(self.poses_BDI), inputs, outputs, dim

    @property
    def transforms_JXE(self) -> Float[Tensor, "out_caps in_flat out_dim"]:
        """The matrices with input dimensions and capsules in one axis."""
        return self.transforms_JDIE.flatten(1, 2)

    def uniform_sum(self) -> Poses:
        """(1 / J) sum_i u_j|i, a plain matrix product."""
        batch, _, outputs, dim = self.shape
        transforms_XN = self.transforms_JXE.transpose(0, 1).flatten(1)
        sums_BN = self.poses_BDI.flatten(1) @ transforms_XN
        return at_least_fp32(sums_BN).view(batch, outputs, dim) / outputs

    def weighted_sum(self, coupling_JBI: Coupling) -> Poses:
        """s_j = sum_i c_ij u_j|i without storing u_j|i."""
        coupling = coupling_JBI.to(self.poses_BDI.dtype)
        with torch.autocast(self.poses_BDI.device.type, enabled=False):
            sums_JBE: Tensor = _WeightedSum.apply(self.poses_BDI, self.transforms_JXE, coupling)  # type: ignore[no-untyped-call]
        return at_least_fp32(sums_JBE).transpose(0, 1)

    def agreement(self, poses_BJE: Poses) -> Coupling:
        """Scalar products of votes and output poses without storing the votes."""
        targets_JBE = poses_BJE.transpose(0, 1).to(self.poses_BDI.dtype)
        with torch.autocast(self.poses_BDI.device.type, enabled=False):
            agreement_JBI: Tensor = _Agreement.apply(self.poses_BDI, self.transforms_JXE, targets_JBE)  # type: ignore[no-untyped-call]
        return agreement_JBI

    def stored(self) -> Float[Tensor, "batch in_caps out_caps dim"]:
        """The votes, multiplied out."""
        return torch.einsum("bdi,jdie->bije", self.poses_BDI, self.transforms_JDIE)

    def detached(self) -> "FactoredVotes":
        """The same votes, through which no gradient flows."""
        other = object.__new__(FactoredVotes)
        other.poses_BDI, other.transforms_JDIE = self.poses_BDI.detach(), self.transforms_JDIE.detach()
        return other


def lay_out(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A copy that lies in memory as its axes are written.

    An operator of its own, as the compiler would read stored votes for the first sum as the product has left them,
    input capsules outermost, and start its threads anew for every value of that sum: an EM step took ten times as long.
    """
    return _laid_out(x)  # type: ignore[no-any-return]


@torch.library.custom_op("capsbench::lay_out", mutates_args=(), tags=(torch.Tag.flexible_layout,))
def _laid_out(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)


@_laid_out.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


_laid_out.register_autograd(lambda _, gradient: gradient)


def product_dtype(x: Tensor) -> torch.dtype:
    """The type in which matrix products are computed here: autocast's, or the tensor's own."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype is not torch.float64:
        return torch.get_autocast_dtype(device)
    return x.dtype


def _project(targets_JBE: Tensor, transforms_JXE: Tensor, poses_BDI: Tensor) -> Float[Tensor, "out batch dim in_caps"]:
    """sum_e W_jdie t_bje, of the shape JBDI."""
    flat = torch.bmm(targets_JBE, transforms_JXE.transpose(1, 2))
    return flat.view(-1, *poses_BDI.shape)


def _scale(coupling_JBI: Tensor, poses_BDI: Tensor) -> Float[Tensor, "out batch in_flat"]:
    """c_bij u_bid, of the shape JBX."""
    return (coupling_JBI[:, :, None, :] * poses_BDI).flatten(2)


def _contract(poses_BDI: Tensor, projected_JBDI: Tensor) -> Float[Tensor, "out batch in_caps"]:
    """sum_d u_bid p_jbdi, in single precision or better."""
    outputs, batch, dim, inputs = projected_JBDI.shape
    dtype = torch.promote_types(projected_JBDI.dtype, torch.float32)
    total_JBI = projected_JBDI.new_zeros(outputs, batch, inputs, dtype=dtype)
    # One dimension after the other: nothing of the size of the products is written, and in single precision at that.
    for d in range(dim):
        total_JBI.addcmul_(projected_JBDI[:, :, d].to(dtype), poses_BDI[:, d].to(dtype))
    return total_JBI


class _WeightedSum(torch.autograd.Function):
    """sum_id c_bij u_bid W_jdie, whose backward pass recomputes instead of storing."""

    @staticmethod
    @override
    def forward(ctx: Any, poses_BDI: Tensor, transforms_JXE: Tensor, coupling_JBI: Tensor) -> Tensor:
        ctx.save_for_backward(poses_BDI, transforms_JXE, coupling_JBI)
        return torch.bmm(_scale(coupling_JBI, poses_BDI), transforms_JXE)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        poses_BDI, transforms_JXE, coupling_JBI = ctx.saved_tensors
        targets_JBE = gradients[0].to(poses_BDI.dtype)
        projected_JBDI = _project(targets_JBE, transforms_JXE, poses_BDI)
        to_poses = (coupling_JBI[:, :, None, :] * projected_JBDI).sum(dim=0)
        to_transforms = torch.bmm(_scale(coupling_JBI, poses_BDI).transpose(1, 2), targets_JBE)
        to_coupling = _contract(poses_BDI, projected_JBDI).to(coupling_JBI.dtype)
        return to_poses, to_transforms, to_coupling


class _Agreement(torch.autograd.Function):
    """sum_de u_bid W_jdie t_bje, whose backward pass recomputes instead of storing."""

    @staticmethod
    @override
    def forward(ctx: Any, poses_BDI: Tensor, transforms_JXE: Tensor, targets_JBE: Tensor) -> Tensor:
        ctx.save_for_backward(poses_BDI, transforms_JXE, targets_JBE)
        return _contract(poses_BDI, _project(targets_JBE, transforms_JXE, poses_BDI))

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        poses_BDI, transforms_JXE, targets_JBE = ctx.saved_tensors
        weights_JBI = gradients[0].to(poses_BDI.dtype)
        scaled_JBX = _scale(weights_JBI, poses_BDI)
        projected_JBDI = _project(targets_JBE, transforms_JXE, poses_BDI)
        to_poses = (weights_JBI[:, :, None, :] * projected_JBDI).sum(dim=0)
        return to_poses, torch.bmm(scaled_JBX.transpose(1, 2), targets_JBE), torch.bmm(scaled_JBX, transforms_JXE)
