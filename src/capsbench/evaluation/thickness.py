"""Stroke thickness of a digit, measured much as Morpho-MNIST does (Castro, Tan, Kainz, Konukoglu and Glocker 2019).

They enlarge the image, binarise it and take twice the mean distance to the background along the skeleton. Here the
skeleton is approximated by the ridge of the distance transform (its local maxima), which needs no thinning; numbers are
close to theirs, not equal.
"""

import numpy as np
from jaxtyping import Float64, UInt8
from scipy import ndimage

ENLARGED = 4
THRESHOLD = 127.5


def stroke_thickness(images: UInt8[np.ndarray, "images height width"]) -> Float64[np.ndarray, "images"]:
    """Mean stroke width of each image in pixels; 0 where nothing is above half of full brightness."""
    return np.array([_of_one(image) for image in images], dtype=np.float64)


def _of_one(image: UInt8[np.ndarray, "height width"]) -> float:
    large = ndimage.zoom(image.astype(np.float32), ENLARGED, order=1, mode="grid-constant", grid_mode=True)
    # A border of background: a stroke that touches the edge of the image ends there.
    depth = ndimage.distance_transform_edt(np.pad(large > THRESHOLD, 1))
    ridge = (depth > 0) & (depth >= ndimage.maximum_filter(depth, 3))
    # The distance is to the centre of the nearest background pixel, half a pixel beyond the stroke's edge.
    return float(2 * (depth[ridge] - 0.5).mean() / ENLARGED) if ridge.any() else 0.0
