"""Rotation, shear and scale of images: what they mean, and drawing images anew under them.

Both the affNIST-like test set (`evaluation/transforms.py`, whose docstring has the conventions) and the augmentation of
training images (`augment.py`) are made of this.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

# Lower and upper end of rotation (degrees), shear, vertical and horizontal scale, as affNIST has them.
RANGES = ((-20.0, 20.0), (-0.2, 0.2), (0.8, 1.2), (0.8, 1.2))


def matrices(parameters: Float[Tensor, "images numbers"]) -> Float64[Tensor, "images 2 2"]:
    """M = rotation . shear . scale of each image, from the first four of its numbers, in the order of `RANGES`."""
    rotation, shear, vertical, horizontal = parameters[:, :4].cpu().double().T
    cosine, sine = rotation.deg2rad().cos(), rotation.deg2rad().sin()
    return torch.stack(
        [
            torch.stack([(cosine - sine * shear) * horizontal, sine * vertical], dim=-1),
            torch.stack([(-sine - cosine * shear) * horizontal, cosine * vertical], dim=-1),
        ],
        dim=-2,
    )


def sample(
    images: Float[Tensor, "images channels height width"],
    matrix: Float[Tensor, "images 2 2"],
    offset: Float[Tensor, "images 2"],
    pad: int = 0,
) -> Float[Tensor, "images channels frame_height frame_width"]:
    """Each output pixel p takes the image's value at matrix p + offset, both from the centres; bilinear, zero outside.

    Args:
        images: in single precision.
        matrix: on any device; best in double precision.
        offset: in pixels (right, down), like `matrix`.
        pad: pixels by which the output is larger on every side.
    """
    height, width = images.shape[2:]
    rows, columns = height + 2 * pad, width + 2 * pad
    # grid_sample with align_corners=False puts -1 and 1 at the image's edges: x pixels from the centre are 2 x / width.
    # Written out rather than left to affine_grid, whose matrix product TF32 or autocast would make coarse.
    unit = torch.tensor([2 / width, 2 / height], dtype=matrix.dtype, device=matrix.device)
    matrix, offset = matrix * unit[:, None], offset * unit
    a, b, c, d = (part.float().to(images.device)[:, None, None] for part in matrix.flatten(1).T)
    e, f = (part.float().to(images.device)[:, None, None] for part in offset.T)
    x = torch.arange(columns, device=images.device) - (columns - 1) / 2
    y = (torch.arange(rows, device=images.device) - (rows - 1) / 2)[:, None]
    grid = torch.stack([(a * x + e) + b * y, (c * x + f) + d * y], dim=-1)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
