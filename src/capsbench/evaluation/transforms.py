"""A synthetic, affNIST-like test set: digits under random affine transformations whose parameters are kept.

It is made from a data set's own test images and is **not** the affNIST data set (Tieleman 2013). Ranges, their meaning
and the 40x40 frame follow the affNIST page as recalled, unverified; the direction of the shear, the order in which the
transformations are applied and the order of the stored numbers are this module's own.

Six numbers describe a transformation, in this order (`PARAMETERS`):

    rotation                degrees, counter-clockwise as one looks at the image
    shear                   a horizontal line becomes one of this slope; positive raises its right end
    vertical_scale          factor on the height
    horizontal_scale        factor on the width
    horizontal_translation  pixels to the right
    vertical_translation    pixels down

With coordinates p = (x right, y down) from the centre of the frame, in pixels between pixel centres, a point of the
image goes to M p + t with M = rotation . shear . scale: scaled first, then sheared, turned and moved.
"""

import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from capsbench.data.affine import RANGES, matrices, sample

PARAMETERS = (
    "rotation",
    "shear",
    "vertical_scale",
    "horizontal_scale",
    "horizontal_translation",
    "vertical_translation",
)
IDENTITY = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0)


def draw_parameters(
    images: UInt8[Tensor, "images channels height width"], variants: int, pad: int, seed: int
) -> Float32[Tensor, "images variants 6"]:
    """Random transformations of each image, as affNIST draws them.

    Everything is uniform within `RANGES`; the translation is uniform over all shifts that keep the transformed image's
    non-zero pixels inside the frame. Where no shift does (large digits in a frame without padding, photographs), what
    overhangs is shared equally by both sides.

    The numbers are drawn on the CPU by an own generator, so they depend on nothing but the arguments, and the first
    variants of many are the variants of few.

    Args:
        images: pixels 0..255, zero is background.
        variants: transformations per image.
        pad: background pixels that the frame adds on every side.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor(RANGES, dtype=torch.float64).T
    points = _outline(images.cpu())
    frame = torch.tensor([images.shape[3] + 2 * pad, images.shape[2] + 2 * pad], dtype=torch.float64)
    drawn = []
    for _ in range(variants):
        uniform = torch.rand(len(images), 6, generator=generator, dtype=torch.float64)
        shape = (low + (high - low) * uniform[:, :4]).float()
        first, last = _allowed_shifts(points, matrices(shape), frame)
        shift = first + (last - first) * torch.where(first < last, uniform[:, 4:], 0.5)
        drawn.append(torch.cat([shape, shift.float()], dim=1))
    return torch.stack(drawn, dim=1)


def transform(
    images: UInt8[Tensor, "images channels height width"], parameters: Float32[Tensor, "images 6"], pad: int
) -> UInt8[Tensor, "images channels frame_height frame_width"]:
    """Draw images into a frame that is `pad` pixels wider on every side, transformed; bilinear, rounded to bytes.

    Computed on the images' device; devices may differ by one grey level where a value lies between two.
    """
    inverse = torch.linalg.inv(matrices(parameters))
    shift = parameters[:, 4:].cpu().double()
    return resample(images, inverse, -(inverse @ shift[:, :, None])[:, :, 0], pad)


def resample(
    images: UInt8[Tensor, "images channels height width"],
    matrix: Float64[Tensor, "images 2 2"],
    offset: Float64[Tensor, "images 2"],
    pad: int,
) -> UInt8[Tensor, "images channels frame_height frame_width"]:
    """Each output pixel p takes the image's value at matrix p + offset (see `sample`), rounded to bytes."""
    return sample(images.float(), matrix, offset, pad).round_().clamp_(0, 255).to(torch.uint8)


def undo(
    images: UInt8[Tensor, "images channels frame_height frame_width"], parameters: Float32[Tensor, "images 6"], pad: int
) -> UInt8[Tensor, "images channels height width"]:
    """The inverse of `transform`, up to what two bilinear interpolations blur; crops the padding off."""
    return resample(images, matrices(parameters), parameters[:, 4:].cpu().double(), -pad)


def fits(
    images: UInt8[Tensor, "images channels height width"], parameters: Float32[Tensor, "images 6"], pad: int
) -> Bool[Tensor, "images"]:
    """Whether each transformed image lies inside the frame with all its non-zero pixels."""
    frame = torch.tensor([images.shape[3] + 2 * pad, images.shape[2] + 2 * pad], dtype=torch.float64)
    first, last = _allowed_shifts(_outline(images.cpu()), matrices(parameters), frame)
    shift = parameters[:, 4:].cpu().double()
    # Half a thousandth of a pixel is the rounding of stored parameters, and less than a grey level.
    return ((shift >= first - 5e-4) & (shift <= last + 5e-4)).all(dim=1)


def _outline(images: UInt8[Tensor, "images channels height width"]) -> Float64[Tensor, "images points 2"]:
    """First and last non-zero pixel of every row, from the image's centre: enough for its extent in any direction."""
    height, width = images.shape[2:]
    filled = images.amax(dim=1) > 0
    columns = torch.arange(width)
    left = torch.where(filled, columns, width).amin(dim=2)
    right = torch.where(filled, columns, -1).amax(dim=2)
    occupied = filled.any(dim=2)
    # Empty rows repeat the first occupied one.
    row = torch.where(occupied, torch.arange(height), occupied.byte().argmax(dim=1, keepdim=True))
    x = torch.cat([left.gather(1, row), right.gather(1, row)], dim=1) - (width - 1) / 2
    y = torch.cat([row, row], dim=1) - (height - 1) / 2
    blank = ~occupied.any(dim=1)
    return torch.where(blank[:, None, None], 0.0, torch.stack([x, y], dim=-1).double())


def _allowed_shifts(
    points: Float64[Tensor, "images points 2"], matrix: Float64[Tensor, "images 2 2"], frame: Float64[Tensor, "2"]
) -> tuple[Float64[Tensor, "images 2"], Float64[Tensor, "images 2"]]:
    """Smallest and largest shift (right, down) for which nothing outside the frame is non-zero; may cross."""
    moved = points @ matrix.transpose(1, 2)
    # Bilinear interpolation spreads a pixel over the open square of half side 1, which M maps to this half extent.
    reach = matrix.abs().sum(dim=2)
    edge = (frame + 1) / 2
    return -edge - moved.amin(dim=1) + reach, edge - moved.amax(dim=1) - reach
