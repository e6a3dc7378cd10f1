"""Convolutions as matrix products, where oneDNN's large kernels in bf16 are slower than that.

A CapsNet step is convolutions for the most part. On processors that multiply bf16 matrices in a unit of their own (AMX)
oneDNN reaches a fifth of the rate of a plain matrix product, and products take a third of the time, copies included. On
others only the gradient of many strided filters is slow: 250 ms for CapsNet's primary capsules at batch 128, where
products take 146 (both measured on 2 cores).

Letters: B batch, I and O input and output channels, H input rows and columns, P output rows and columns, K kernel rows
and columns; R = K * K * I is what one output value sums over.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input
from typing_extensions import override

# Input patches laid out at a time: 64 MB in bf16. All at once they are 81 / 4 times a CapsNet's stem maps.
PATCH_VALUES = 32 * 2**20
# oneDNN fills the unit's tiles with channels: below 16 of them it is slow at stride 1, too.
FEW_CHANNELS = 16
# Below, laying out patches costs more than it saves: 5x5 and 3x3 networks were faster with oneDNN.
LARGE_KERNEL = 7
# Without a matrix unit oneDNN's weight gradients were as fast at 128 output channels, and faster below.
MANY_CHANNELS = 256
# Whether PyTorch may use this processor's AMX tiles; asked for here, as compiled code cannot.
HAS_MATRIX_UNIT = torch.cpu._is_amx_tile_supported()


class Convolution(nn.Conv2d):
    """`nn.Conv2d` of square kernels, same weights and same results, by whichever way is faster here."""

    @override
    def forward(self, input: Float[Tensor, "batch in_channels height width"]) -> Tensor:
        """Equal to `nn.Conv2d` but for rounding."""
        padding = self.padding[0]
        if isinstance(padding, str) or not self.multiplies_faster(input):
            return super().forward(input)
        sums = convolve(input.to(torch.bfloat16), self.weight.to(torch.bfloat16), self.stride[0], padding)
        return sums if self.bias is None else sums + self.bias.to(torch.bfloat16)[:, None, None]

    def multiplies_faster(self, maps: Tensor) -> bool:
        """Whether products win for these weights, on the processor that the maps are on, under bf16 autocast."""
        return (
            self.kernel_size[0] >= LARGE_KERNEL
            and maps.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") is torch.bfloat16
            and (HAS_MATRIX_UNIT or (self._has_slow_gradient and torch.is_grad_enabled()))
        )

    @property
    def _has_slow_gradient(self) -> bool:
        return self.stride[0] > 1 and self.out_channels >= MANY_CHANNELS


def convolve(
    maps: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "out_channels in_channels kernel kernel"],
    stride: int,
    padding: int,
) -> Float[Tensor, "batch out_channels out_height out_width"]:
    """Cross-correlation, as `torch.nn.functional.conv2d` has it.

    Maps and weight are best channels last in memory: then the products read and write them in place.
    """
    return _Convolve.apply(maps, weight, stride, padding)  # type: ignore[no-any-return, no-untyped-call]


class _Convolve(torch.autograd.Function):
    """Weight gradients by products of patches and, with a matrix unit, strided sums and their gradients, too."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride, ctx.padding = stride, padding
        if not HAS_MATRIX_UNIT or (stride == 1 and maps.shape[1] >= FEW_CHANNELS):
            return functional.conv2d(maps, weight, stride=stride, padding=padding)
        kernel = weight.shape[2]
        weight_OR = weight.permute(0, 2, 3, 1).flatten(1)
        maps_BHHI = padded(maps, padding)
        sums = [
            functional.linear(patches_BPPR(maps_BHHI, first, last, kernel, stride), weight_OR)
            for first, last in _parts(maps_BHHI, kernel, stride)
        ]
        return torch.cat(sums).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, weight = ctx.saved_tensors
        sums_BPPO = gradients[0].permute(0, 2, 3, 1)
        to_maps = to_weight = None
        if ctx.needs_input_grad[0]:
            to_maps = _gradient_of_maps(maps, weight, sums_BPPO, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            to_weight = _gradient_of_weight(maps, weight, sums_BPPO, ctx.stride, ctx.padding)
        return to_maps, to_weight, None, None


def _gradient_of_maps(maps: Tensor, weight: Tensor, sums_BPPO: Tensor, stride: int, padding: int) -> Tensor:
    if stride == 1 or not HAS_MATRIX_UNIT:
        sums = sums_BPPO.permute(0, 3, 1, 2)
        gradient: Tensor = conv2d_input(maps.shape, weight, sums, stride, padding)  # type: ignore[no-untyped-call]
        return gradient
    kernel = weight.shape[2]
    # As one product of two matrices: `matmul` may otherwise copy the weight once for every row.
    patches = sums_BPPO.flatten(0, 2) @ weight.permute(0, 2, 3, 1).flatten(1)
    height, width = (side + 2 * padding for side in maps.shape[2:])
    whole = fold(patches.view(*sums_BPPO.shape[:3], kernel, kernel, -1), height, width, stride)
    return whole[:, padding : height - padding, padding : width - padding].permute(0, 3, 1, 2)


def _gradient_of_weight(maps: Tensor, weight: Tensor, sums_BPPO: Tensor, stride: int, padding: int) -> Tensor:
    outputs, _, kernel, _ = weight.shape
    maps_BHHI = padded(maps, padding)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    total = weight.new_zeros(outputs, kernel * kernel * maps.shape[1], dtype=dtype)
    for first, last in _parts(maps_BHHI, kernel, stride):
        patches = patches_BPPR(maps_BHHI, first, last, kernel, stride)
        total += sums_BPPO[first:last].reshape(-1, outputs).T @ patches.flatten(0, 2)
    return total.to(weight.dtype).view(outputs, kernel, kernel, -1).permute(0, 3, 1, 2)


def padded(maps: Tensor, padding: int) -> Tensor:
    """Maps with a border of zeros, as batch, height, width, channels."""
    maps_BHHI = maps.permute(0, 2, 3, 1)
    return functional.pad(maps_BHHI, (0, 0, padding, padding, padding, padding)) if padding else maps_BHHI


def _parts(maps_BHHI: Tensor, kernel: int, stride: int) -> list[tuple[int, int]]:
    """First image and end of each part of the batch whose patches are few enough to be laid out at a time."""
    batch, height, width, channels = maps_BHHI.shape
    rows, columns = _positions(height, width, kernel, stride)
    size = max(1, PATCH_VALUES // (rows * columns * kernel * kernel * channels))
    return [(first, min(first + size, batch)) for first in range(0, batch, size)]


def _positions(height: int, width: int, kernel: int, stride: int) -> tuple[int, int]:
    return (height - kernel) // stride + 1, (width - kernel) // stride + 1


@torch.library.custom_op("capsbench::patches", mutates_args=(), tags=(torch.Tag.flexible_layout,))
def patches_BPPR(maps_BHHI: Tensor, first: int, last: int, kernel: int, stride: int) -> Tensor:
    """What each output value of images first to last - 1 sums over: kernel row, kernel column and channel in one axis.

    An operator of its own, so that the compiler does not compute the maps anew for each of their patches; it takes maps
    as they lie, which spares one copy of them for each part.
    """
    part = maps_BHHI[first:last].contiguous()
    batch, height, width, channels = part.shape
    of_image, of_row, of_column, _ = part.stride()
    rows, columns = _positions(height, width, kernel, stride)
    # A kernel row's values lie side by side.
    windows = part.as_strided(
        (batch, rows, columns, kernel, kernel * channels),
        (of_image, of_row * stride, of_column * stride, of_row, 1),
    )
    return windows.reshape(batch, rows, columns, -1)


@patches_BPPR.register_fake
def _(maps_BHHI: Tensor, first: int, last: int, kernel: int, stride: int) -> Tensor:
    _, height, width, channels = maps_BHHI.shape
    rows, columns = _positions(height, width, kernel, stride)
    return maps_BHHI.new_empty(last - first, rows, columns, kernel * kernel * channels)


def fold(
    patches: Float[Tensor, "batch out_height out_width kernel kernel channels"], height: int, width: int, stride: int
) -> Float[Tensor, "batch height width channels"]:
    """Add up patches where they overlap, rows first, then columns; each in single precision, then rounded."""
    rows = overlap_add(patches.flatten(4), height, stride)
    batch, _, columns, _ = rows.shape
    kernel, channels = patches.shape[4:]
    sums = overlap_add(rows.reshape(batch * height, columns, 1, kernel, channels), width, stride)
    return sums.view(batch, height, width, channels)


def overlap_add(
    values: Float[Tensor, "batch positions middle kernel channels"], length: int, stride: int
) -> Float[Tensor, "batch length middle channels"]:
    """The sum of values[:, p, :, k] over p and k with stride * p + k = y, for each y below `length`.

    Written twice: as sums that read each value where it is, which the compiler makes one pass of and eager PyTorch does
    not, and as additions in place, for which it is the other way round.
    """
    batch, positions, middle, kernel, channels = values.shape
    dtype = torch.promote_types(values.dtype, torch.float32)
    if not torch.compiler.is_compiling():
        sums = values.new_zeros(batch, length, middle, channels, dtype=dtype)
        for k in range(kernel):
            sums[:, k : k + stride * (positions - 1) + 1 : stride] += values[:, :, :, k]
        return sums.to(values.dtype)
    longest = -(-length // stride)
    phases = []
    for phase in range(stride):
        total = values.new_zeros(batch, longest, middle, channels, dtype=dtype)
        for step, k in enumerate(range(phase, kernel, stride)):
            around = (0, 0, 0, 0, step, longest - positions - step)
            total = total + functional.pad(values[:, :, :, k].to(dtype), around)
        phases.append(total.to(values.dtype))
    return torch.stack(phases, dim=2).flatten(1, 2)[:, :length]
