"""Changes to training images beside shifts, on the device: windows, affine ones, mirroring, brightness and contrast.

They follow the released code of Sabour et al. 2017 for CIFAR-10 and smallNORB (window, mirror, brightness of up to 63
of 255 levels, contrast of 0.2 to 1.8 around each channel's mean, in this order; standardising is part of the network's
input, see `standardize`). Between window and mirror images may be turned, sheared and stretched around the window's
centre as affNIST's test images are, which the papers' networks never see in training. What happens to which image is a
function of the run's seed and the epoch alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from capsbench.config import Data
from capsbench.data.affine import RANGES, matrices, sample
from capsbench.errors import CapsbenchError

# Streams apart from that of order and windows, so that switching one change on leaves everything else as it was.
STREAM, AFFINE_STREAM = 1, 2
# At five times affNIST's ranges an image would be scaled to nothing.
LARGEST_AFFINE = 2.0


@dataclass(frozen=True)
class Augment:
    """What is done to training images.

    Attributes:
        crop: height and width of the random window; None for the whole image.
        flip: mirror half of the images.
        brightness: largest change in grey levels of 255.
        contrast: lowest and highest factor; None for none.
        clip: keep pixels in [0, 1]; off where images are standardised afterwards, as in the released code.
        affine: rotation, shear and scale as a share of affNIST's ranges.
    """

    crop: int | None = None
    flip: bool = False
    brightness: float = 0.0
    contrast: tuple[float, float] | None = None
    clip: bool = True
    affine: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """One epoch's draws, in the order of its images; None where the change is switched off.

    Attributes:
        flip: which images are mirrored.
        brightness: what is added to the pixels of [0, 1].
        contrast: factors.
        affine: matrices from pixels of the changed image to those of the image, both from their centres.
    """

    flip: Bool[Tensor, " count"] | None
    brightness: Float[Tensor, " count"] | None
    contrast: Float[Tensor, " count"] | None
    affine: Float32[Tensor, "count 2 2"] | None = None


def augmentation(cfg: Data) -> Augment:
    """What `data` asks to be done to training images.

    Raises:
        CapsbenchError: `data.brightness`, `data.contrast` or `data.affine` is impossible.
    """
    if not 0 <= cfg.brightness <= 255:
        raise CapsbenchError(f"data.brightness={cfg.brightness}: expected 0 to 255 grey levels")
    if not 0 <= cfg.affine <= LARGEST_AFFINE:
        raise CapsbenchError(
            f"data.affine={cfg.affine}: expected 0 to {LARGEST_AFFINE:g} times affNIST's ranges, such as 1"
        )
    contrast = None
    if cfg.contrast is not None:
        if len(cfg.contrast) != 2 or not 0 <= cfg.contrast[0] <= cfg.contrast[1]:
            raise CapsbenchError(
                f"data.contrast={list(cfg.contrast)}: expected [lowest, highest] factor, such as [0.2, 1.8], or null"
            )
        contrast = (float(cfg.contrast[0]), float(cfg.contrast[1]))
    return Augment(cfg.crop, cfg.flip, float(cfg.brightness), contrast, not cfg.standardize, float(cfg.affine))


def draw(count: int, augment: Augment, seed: int, epoch: int) -> Drawn:
    """One epoch's draws, on the CPU."""
    affine = _draw_affine(count, augment.affine, seed, epoch) if augment.affine else None
    if not (augment.flip or augment.brightness or augment.contrast):
        return Drawn(None, None, None, affine)
    uniform = torch.rand(3, count, generator=_generator(seed, epoch, STREAM))
    low, high = augment.contrast or (1.0, 1.0)
    return Drawn(
        uniform[0] < 0.5 if augment.flip else None,
        (2 * uniform[1] - 1) * (augment.brightness / 255) if augment.brightness else None,
        low + (high - low) * uniform[2] if augment.contrast else None,
        affine,
    )


def _draw_affine(count: int, share: float, seed: int, epoch: int) -> Float32[Tensor, "count 2 2"]:
    """Inverses of the transformations, whose numbers are uniform within a share of affNIST's ranges."""
    low, high = torch.tensor(RANGES, dtype=torch.float64).T
    middle, reach = (low + high) / 2, share * (high - low) / 2
    uniform = torch.rand(count, 4, generator=_generator(seed, epoch, AFFINE_STREAM), dtype=torch.float64)
    inverse: Tensor = torch.linalg.inv(matrices(middle + (2 * uniform - 1) * reach))
    return inverse.float()


def _generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def to_device(drawn: Drawn, device: torch.device) -> Drawn:
    """The same draws on another device."""
    parts = (drawn.flip, drawn.brightness, drawn.contrast, drawn.affine)
    return Drawn(*(None if part is None else part.to(device) for part in parts))


def apply(
    images: Float[Tensor, "batch channels height width"], drawn: Drawn, part: slice, *, clip: bool
) -> Float[Tensor, "batch channels height width"]:
    """The changed images of one batch.

    Args:
        images: pixels in [0, 1].
        drawn: one epoch's draws, on the images' device.
        part: where the batch lies in the epoch.
        clip: cut pixels off at 0 and 1 afterwards.
    """
    if drawn.affine is not None:
        matrix = drawn.affine[part]
        images = sample(images, matrix, matrix.new_zeros(len(matrix), 2))
    if drawn.flip is not None:
        images = torch.where(drawn.flip[part, None, None, None], images.flip(3), images)
    if drawn.brightness is not None:
        images = images + drawn.brightness[part, None, None, None]
    if drawn.contrast is not None:
        mean = images.mean(dim=(2, 3), keepdim=True)
        images = (images - mean) * drawn.contrast[part, None, None, None] + mean
    if clip and (drawn.brightness is not None or drawn.contrast is not None):
        images = images.clamp(0, 1)
    return images
