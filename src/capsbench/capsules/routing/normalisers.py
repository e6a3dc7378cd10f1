"""From routing logits to coupling coefficients: softmax as in the paper, and what others put in its place.

Letters: B batch, I input capsules, J output capsules.
"""

import torch

from capsbench.capsules.votes import Coupling
from capsbench.config_models import Normaliser

SMALLEST_SPREAD = 1e-12


def coupling_coefficients(
    logits_JBI: Coupling, *, leaky: bool = False, normaliser: Normaliser = Normaliser.softmax_out
) -> Coupling:
    """Coupling of every pair of capsules from its logit.

    `softmax_out`: over the output capsules, as in Sabour et al. 2017, eq. 3. Leaky routing (released code,
    `_leaky_routing`) adds one more parent with logit zero and drops it again, so that the coefficients of an input
    capsule sum to less than one.
    `softmax_in`: over the input capsules, which many ports do by mistake: each output capsule then sees a convex
    combination of its votes.
    `sigmoid`: each pair on its own.
    `max_min`: see `max_min_coefficients`.
    """
    match normaliser:
        case Normaliser.softmax_out if leaky:
            padded = torch.cat([torch.zeros_like(logits_JBI[:1]), logits_JBI])
            return torch.softmax(padded, dim=0)[1:]
        case Normaliser.softmax_out:
            return torch.softmax(logits_JBI, dim=0)
        case Normaliser.softmax_in:
            return torch.softmax(logits_JBI, dim=2)
        case Normaliser.sigmoid:
            return torch.sigmoid(logits_JBI)
        case Normaliser.max_min:
            return max_min_coefficients(logits_JBI)


def first_coefficient(inputs: int, outputs: int, *, leaky: bool, normaliser: Normaliser) -> float:
    """The one value that all coefficients have in the first iteration, when all logits are zero."""
    match normaliser:
        case Normaliser.softmax_out:
            return 1 / (outputs + 1) if leaky else 1 / outputs
        case Normaliser.softmax_in:
            return 1 / inputs
        case Normaliser.sigmoid:
            return 0.5
        case Normaliser.max_min:
            return 1.0


def max_min_coefficients(logits_JBI: Coupling) -> Coupling:
    """(b_ij - min_j b_ij) / (max_j b_ij - min_j b_ij) (Zhao et al. 2019, with bounds 0 and 1).

    Every input capsule gives 1 to the parent it agrees with most and 0 to the one it agrees with least, whatever the
    scale of its logits. Where they are all equal, all coefficients are 1, as they are in the first iteration.
    """
    lowest_BI, highest_BI = logits_JBI.amin(dim=0), logits_JBI.amax(dim=0)
    spread_BI = highest_BI - lowest_BI
    equal_BI = spread_BI < SMALLEST_SPREAD
    scaled_JBI = (logits_JBI - lowest_BI) / torch.where(equal_BI, 1.0, spread_BI)
    return torch.where(equal_BI, 1.0, scaled_JBI)
