"""Images with their parts in the wrong places: local features stay, the whole is gone.

A capsule network is to recognise an object by parts that agree about its pose, so it should no longer claim a digit
whose parts are scattered; a network that sums local evidence may. Bag-of-features models hardly notice such images
(Brendel and Bethge 2019).
"""

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

GRID_STREAM = 15


def grid_shuffled(
    images: UInt8[Tensor, "images channels height width"], cells: int, seed: int
) -> UInt8[Tensor, "images channels height width"]:
    """Cut each image into `cells` by `cells` parts and put every part into another place, a new way for each image.

    The ways are drawn uniformly from the cyclic ones, so that no part stays where it was. Where the size is no multiple
    of `cells`, a margin of less than a part's size stays.

    Args:
        images: pixels 0..255.
        cells: parts along each side, at least 2.
        seed: of the ways.
    """
    height, width = images.shape[2:]
    rows, columns = height // cells, width // cells
    top, left = (height - rows * cells) // 2, (width - columns * cells) // 2
    inside = images[:, :, top : top + rows * cells, left : left + columns * cells]
    count, channels = images.shape[:2]
    parts = inside.reshape(count, channels, cells, rows, cells, columns).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    way = cycles(count, cells**2, seed).to(images.device)
    moved = parts[torch.arange(count, device=images.device)[:, None], way]
    together = moved.reshape(count, cells, cells, channels, rows, columns).permute(0, 3, 1, 4, 2, 5)
    answer = images.clone()
    answer[:, :, top : top + rows * cells, left : left + columns * cells] = together.reshape(inside.shape)
    return answer


def cycles(count: int, length: int, seed: int) -> Int64[Tensor, "count length"]:
    """For each image a permutation without a fixed place: all places form one cycle in a drawn order."""
    words = np.random.PCG64(np.random.SeedSequence([seed, GRID_STREAM, length])).random_raw(count * length)
    order = np.argsort(words.reshape(count, length), axis=1, kind="stable")
    way = np.empty_like(order)
    np.put_along_axis(way, order, np.roll(order, -1, axis=1), axis=1)
    return torch.from_numpy(way.astype(np.int64))


def halves_swapped(
    images: UInt8[Tensor, "images channels height width"], *, upright: bool
) -> UInt8[Tensor, "images channels height width"]:
    """The left half where the right was and the other way round; the upper and lower halves if `upright`."""
    axis = 2 if upright else 3
    return images.roll(images.shape[axis] // 2, dims=axis)


def mixed(
    images: UInt8[Tensor, "images channels height width"],
    others: UInt8[Tensor, "images channels height width"],
    cells: int,
) -> UInt8[Tensor, "images channels height width"]:
    """Every second part, as on a chessboard, from another image, in its own place; the upper left part stays.

    Args:
        images: one image each.
        others: the image to mix each with.
        cells: parts along each side; sides that it does not divide have parts of two sizes.
    """
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device) * cells // height
    column = torch.arange(width, device=images.device) * cells // width
    return torch.where((row[:, None] + column) % 2 == 0, images, others)
