"""What every routing algorithm returns."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Routed(NamedTuple):
    """Output capsules and how the input capsules were assigned to them.

    Attributes:
        poses: pose of every output capsule.
        activations: activation of every output capsule; its length where poses are squashed.
        coupling: coupling coefficients of every iteration, or None unless they were asked for.
    """

    poses: Float[Tensor, "batch out_caps dim"]
    activations: Float[Tensor, "batch out_caps"]
    coupling: Float[Tensor, "iterations batch in_caps out_caps"] | None
