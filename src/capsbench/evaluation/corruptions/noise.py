"""Noise as MNIST-C has it (Mu and Gilmer 2019): few photons, and dead or stuck pixels.

Letters, here and in the other corruptions: N images, C channels, H and W height and width; pixels are in [0, 1].
"""

import numpy as np
from jaxtyping import Float32

Pixels = Float32[np.ndarray, "images channels height width"]
PHOTONS = (60, 25, 12, 5, 3)
IMPULSES = (0.03, 0.06, 0.09, 0.17, 0.27)


def shot_noise(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """Poisson noise: full brightness is 60 down to 3 photons."""
    photons = PHOTONS[severity - 1]
    return (draw.poisson(pixels_NCHW * photons) / photons).astype(np.float32)


def impulse_noise(pixels_NCHW: Pixels, severity: int, draw: np.random.Generator) -> Pixels:
    """3 to 27 per cent of the pixels become black or white, either as likely."""
    share = IMPULSES[severity - 1]
    chance = draw.random(pixels_NCHW.shape, dtype=np.float32)
    salted = np.where(chance < share / 2, np.float32(1), pixels_NCHW)
    return np.where(chance > 1 - share / 2, np.float32(0), salted)
