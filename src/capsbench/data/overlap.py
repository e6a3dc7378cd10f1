"""MultiMNIST: two digits of different classes on top of each other (Sabour, Frosst, Hinton 2017, section 6).

Both digits are padded (28 x 28 becomes 36 x 36), each is shifted by up to `shift` pixels in each direction,
independently, and their sum is cut off at 255. The paper shifts by up to 4 pixels, the released code's README by up to
6. Every digit keeps its own picture: it is what a reconstruction of it is compared with. The draws are the same on
every machine and under every version of NumPy.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn import functional

from capsbench.errors import CapsbenchError

PAD, SHIFT = 4, 4
TEST_STREAM, TRAIN_STREAM = 20, 21


@dataclass(frozen=True)
class Pairs:
    """Which digits meet, and where: positions in the images they are taken from, and corners of their windows.

    Attributes:
        index: the two images of each pair.
        corner: row and column, 0 to 2 * shift, of each image's window; (shift, shift) leaves it in the middle.
        shift: largest shift in pixels.
    """

    index: Int64[Tensor, "pairs 2"]
    corner: Int64[Tensor, "pairs 2 2"]
    shift: int

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.index)

    def part(self, which: slice) -> "Pairs":
        """Some of the pairs."""
        return Pairs(self.index[which], self.corner[which], self.shift)


@dataclass(frozen=True)
class Overlapped:
    """Pairs of digits as images.

    Attributes:
        images: both digits together.
        digits: each digit alone, where it lies.
        labels: their classes.
    """

    images: UInt8[Tensor, "pairs channels height width"]
    digits: UInt8[Tensor, "pairs 2 channels height width"]
    labels: Int64[Tensor, "pairs 2"]


def train_pairs(labels: Int64[Tensor, " images"], seed: int, epoch: int, shift: int = SHIFT) -> Pairs:
    """One epoch of training pairs: every image once as the first digit, in a new order, with a new partner.

    Args:
        labels: classes of the training images.
        seed: of the run.
        epoch: of the run; each has other pairs.
        shift: largest shift in pixels.

    Raises:
        CapsbenchError: there are fewer than two classes, or the shift is negative.
    """
    words = np.random.PCG64(np.random.SeedSequence([seed, TRAIN_STREAM, epoch]))
    first = np.argsort(words.random_raw(len(labels)), kind="stable")
    return _pairs(first, labels.cpu().numpy(), words, shift)


def fixed_pairs(labels: Int64[Tensor, " images"], each: int = 10, shift: int = SHIFT, seed: int = 0) -> Pairs:
    """The fixed test pairs: every image `each` times as the first digit. The paper has 1,000 for each image.

    Args:
        labels: classes of the test images.
        each: pairs for every image.
        shift: largest shift in pixels.
        seed: the same for every run.

    Raises:
        CapsbenchError: there are fewer than two classes, or `each` or the shift is impossible.
    """
    if each < 1:
        raise CapsbenchError(f"each={each}: expected 1 or more pairs for every test image")
    words = np.random.PCG64(np.random.SeedSequence([seed, TEST_STREAM]))
    return _pairs(np.arange(len(labels)).repeat(each), labels.cpu().numpy(), words, shift)


def overlap(
    images: UInt8[Tensor, "images channels height width"],
    labels: Int64[Tensor, " images"],
    pairs: Pairs,
    pad: int = PAD,
) -> Overlapped:
    """Put pairs of images on top of each other, on the images' device.

    Args:
        images: what `pairs` was drawn from.
        labels: their classes.
        pairs: which images meet, and where; a batch of them at a time.
        pad: zero pixels added on every side.
    """
    height, width = images.shape[2] + 2 * pad, images.shape[3] + 2 * pad
    index, corner = pairs.index.to(images.device), pairs.corner.to(images.device)
    chosen = functional.pad(images[index.flatten()], [pad + pairs.shift] * 4)
    windows = chosen.unfold(2, height, 1).unfold(3, width, 1)
    rows, columns = corner.flatten(0, 1).unbind(1)
    every = torch.arange(len(chosen), device=images.device)
    digits = windows[every, :, rows, columns]
    digits = digits.reshape(-1, 2, *digits.shape[1:])
    return Overlapped(laid_over(digits), digits, labels.to(images.device)[index])


def laid_over(
    digits: UInt8[Tensor, "pairs 2 channels height width"],
) -> UInt8[Tensor, "pairs channels height width"]:
    """The sum of both digits, cut off at 255."""
    return digits.to(torch.int16).sum(dim=1).clamp(max=255).to(torch.uint8)


def pair_codes(labels_N2: Int64[Tensor, "pairs 2"], classes: int) -> Int64[Tensor, " pairs"]:
    """One number for the two classes of each pair, whichever comes first: smaller * classes + larger.

    So a pair is right or wrong as a whole, as an image of one class is, and reports compare both in the same way.
    """
    smaller, larger = labels_N2.sort(dim=1).values.unbind(1)
    return smaller * classes + larger


def _pairs(
    first: Int64[np.ndarray, " pairs"], labels: Int64[np.ndarray, " images"], words: np.random.PCG64, shift: int
) -> Pairs:
    """Partners, uniform over all images of other classes, and corners."""
    if shift < 0:
        raise CapsbenchError(f"shift={shift}: expected 0 or more pixels")
    if len(np.unique(labels)) < 2:
        raise CapsbenchError("digits of two classes are needed to lay one over the other")
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    own = labels[first]
    others = (len(labels) - counts[own]).astype(np.uint64)
    # Positions in the order of classes, with the block of the first digit's class left out.
    place = (words.random_raw(len(first)) % others).astype(np.int64)
    place += np.where(place >= starts[own], counts[own], 0)
    corners = (words.random_raw(4 * len(first)) % np.uint64(2 * shift + 1)).astype(np.int64).reshape(-1, 2, 2)
    index = np.stack([first, by_class[place]], axis=1).astype(np.int64)
    return Pairs(torch.from_numpy(index), torch.from_numpy(corners), shift)
