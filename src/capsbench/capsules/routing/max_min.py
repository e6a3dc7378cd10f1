"""Dynamic routing with max-min normalisation in place of the softmax (Zhao et al. 2019, arXiv:1903.09662).

Softmax leaves the coefficients of ten classes close to uniform after a few iterations; max-min spreads those of every
input capsule over the whole of [0, 1], and they no longer sum to one. That the normalisation is invariant to scale,
gives each capsule values that depend on no others but for the bounds, and allows more iterations was read in the
abstract. The rule c = p + (q - p) (b - min b) / (max b - min b) over output capsules with bounds p = 0 and q = 1, and
coefficients of 1 in the first iteration, were confirmed in public code of others (Ka0Ri/Capsule-Network, Routing.py);
the authors' own is not public.
"""

from jaxtyping import Float
from torch import Tensor

from capsbench.capsules.routing.dynamic import dynamic_routing
from capsbench.capsules.routing.result import Routed
from capsbench.capsules.votes import Votes
from capsbench.config_models import Normaliser, RoutingGradient, Squash


def max_min_routing(
    votes: Votes,
    bias_JE: Float[Tensor, "out_caps dim"] | None = None,
    *,
    iterations: int = 3,
    gradient: RoutingGradient = RoutingGradient.unroll,
    squash_kind: Squash = Squash.hinton,
    with_coupling: bool = False,
) -> Routed:
    """`dynamic_routing` whose coefficients are `normalisers.max_min_coefficients` of the logits."""
    return dynamic_routing(
        votes,
        bias_JE,
        iterations=iterations,
        gradient=gradient,
        normaliser=Normaliser.max_min,
        squash_kind=squash_kind,
        with_coupling=with_coupling,
    )
