"""Convolutional capsules with matrix poses: every window of the map is routed to the capsules of one output position.

A pose is a square matrix and a vote the product of pose and transformation matrix (Hinton, Sabour and Frosst 2018),
which takes 16 numbers for poses of 16 dimensions where a free matrix takes 256. A window's capsules are the input
capsules of a routing algorithm, and output positions go into its batch, so that any algorithm on `Votes` works here.

Letters: B batch, T capsule types, E = M * M pose dimensions, H and W rows and columns, K kernel, P output positions,
I = T * K * K capsules of a window, J output types.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from capsbench.capsules.votes import StoredVotes


def patches(
    maps_BCHW: Float[Tensor, "batch channels height width"], kernel: int, stride: int
) -> Float[Tensor, "batch channels window positions"]:
    """All windows, with the window's rows and columns in one axis and the output positions in another."""
    channels = maps_BCHW.shape[1]
    columns = functional.unfold(maps_BCHW, kernel, stride=stride)
    return columns.view(len(maps_BCHW), channels, kernel**2, -1)


def window_poses(
    poses_BTEHW: Float[Tensor, "batch types dim height width"], kernel: int, stride: int
) -> Float[Tensor, "windows in_caps dim"]:
    """Poses of every window's capsules, index type * kernel^2 + place; windows index batch * positions + position."""
    batch, types, dim = poses_BTEHW.shape[:3]
    found = patches(poses_BTEHW.flatten(1, 2), kernel, stride)
    split = found.view(batch, types, dim, kernel**2, found.shape[3])
    return split.permute(0, 4, 1, 3, 2).reshape(batch * found.shape[3], types * kernel**2, dim)


def window_activations(
    activations_BTHW: Float[Tensor, "batch types height width"], kernel: int, stride: int
) -> Float[Tensor, "windows in_caps"]:
    """Activations of every window's capsules, in the order of `window_poses`."""
    found = patches(activations_BTHW, kernel, stride)
    return found.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)


def matrix_votes(
    poses_BIE: Float[Tensor, "batch in_caps dim"], matrices_IJMM: Float[Tensor, "in_caps out_caps side side"]
) -> StoredVotes:
    """V_ij = P_i W_ij, as vectors of M * M numbers."""
    inputs, outputs, side, _ = matrices_IJMM.shape
    rows_IRM = poses_BIE.view(-1, inputs, side, side).transpose(0, 1).reshape(inputs, -1, side)
    columns_IMC = matrices_IJMM.permute(0, 2, 1, 3).reshape(inputs, side, outputs * side)
    products = torch.bmm(rows_IRM, columns_IMC).view(inputs, -1, side, outputs, side)
    return StoredVotes(products.permute(1, 0, 3, 2, 4).flatten(3))


def unwindow(
    values: Float[Tensor, "windows out_caps *dim"], batch: int
) -> Float[Tensor, "batch out_caps *dim height width"]:
    """Routed capsules back on a square map."""
    size = round((len(values) // batch) ** 0.5)
    shaped = values.view(batch, size, size, *values.shape[1:])
    return shaped.movedim((1, 2), (-2, -1))


class OverlappingParents:
    """Normalises an E step over all parents of a capsule: those of every window that it is in, not of one window alone.

    Hinton, Sabour and Frosst 2018 normalise R_ij over all capsules of the next layer; with convolutions a capsule has
    parents at several positions. Most ports leave those out.

    Args:
        size: height and width of the input map.
        kernel: K.
        stride: of the windows.
    """

    def __init__(self, size: int, kernel: int, stride: int) -> None:
        self.size, self.kernel, self.stride = size, kernel, stride

    def __call__(self, log_BJI: Float[Tensor, "windows out_caps in_caps"]) -> Float[Tensor, "windows out_caps in_caps"]:
        """exp(log_BJI), divided by its sum over the parents at all positions."""
        # A constant of a capsule cancels; its mean over windows keeps the exponential in range.
        here_BI = torch.logsumexp(log_BJI, dim=1)
        mean_BI = self._over_windows(here_BI.detach()) / self._over_windows(torch.ones_like(here_BI))
        mass_BI = torch.exp((here_BI - mean_BI).clamp(-60, 60))
        return torch.softmax(log_BJI, dim=1) * (mass_BI / self._over_windows(mass_BI))[:, None, :]

    def _over_windows(self, values_BI: Tensor) -> Tensor:
        """For every place in a window, the sum of a capsule's values over all windows that it is in."""
        positions = ((self.size - self.kernel) // self.stride + 1) ** 2
        columns = values_BI.view(-1, positions, values_BI.shape[1]).transpose(1, 2)
        sums = functional.fold(columns, self.size, self.kernel, stride=self.stride)
        return functional.unfold(sums, self.kernel, stride=self.stride).transpose(1, 2).reshape_as(values_BI)


def draw_matrices(inputs: int, outputs: int, side: int, std: float) -> nn.Parameter:
    """Transformation matrices drawn from a truncated normal."""
    matrices = torch.empty(inputs, outputs, side, side)
    nn.init.trunc_normal_(matrices, std=std, a=-2 * std, b=2 * std)
    return nn.Parameter(matrices)
