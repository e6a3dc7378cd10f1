"""What every model returns, whatever its family.

Index letters used throughout the package: B batch, I input capsules, J output capsules (classes), D input pose
dimensions, E output pose dimensions, R routing iterations, C channels, H and W height and width.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Output(NamedTuple):
    """A model's answer to a batch of images.

    Attributes:
        scores: one number per class, larger is more likely: capsule lengths in [0, 1) or logits.
        poses: class capsules' pose vectors, or the features before a CNN's class layer seen as one vector per image
            (classes dimension 1); None where a model has neither.
        reconstruction: images rebuilt from one masked class capsule, in [0, 1]; None without a decoder.
        coupling: coupling coefficients of every routing iteration; None unless asked for, and without routing.
        primary_lengths: activation of every primary capsule; None unless asked for.
    """

    scores: Float[Tensor, "batch classes"]
    poses: Float[Tensor, "batch classes dim"] | None = None
    reconstruction: Float[Tensor, "batch channels height width"] | None = None
    coupling: Float[Tensor, "iterations batch in_caps classes"] | None = None
    primary_lengths: Float[Tensor, "batch in_caps"] | None = None
