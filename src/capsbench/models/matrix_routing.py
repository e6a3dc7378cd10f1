"""Routing of windows of matrix capsules, with what each algorithm learns, normalises or starts from.

Letters: N windows, I capsules of a window, J parent types, E pose dimensions, T capsules with their own weights.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsbench.capsules.routing.dynamic import dynamic_routing
from capsbench.capsules.routing.em import em_routing
from capsbench.capsules.routing.max_min import max_min_routing
from capsbench.capsules.routing.result import Routed
from capsbench.capsules.routing.self_routing import self_routing
from capsbench.capsules.routing.uniform import uniform_routing
from capsbench.capsules.routing.variational_bayes import variational_bayes_routing
from capsbench.capsules.votes import Votes
from capsbench.config_models import RoutingAlgorithm as Algorithm

# The released code's beta of 0.01 multiplies a cost that is twice the paper's.
FINAL_LAMBDA, DAMPING = 0.02, 0.1


class MatrixRouting(nn.Module):
    """One of `config_models.CONVOLUTIONAL` between windows and their parents.

    Args:
        algorithm: which one.
        inputs: T, capsules that self-routing has a matrix for: a window's, or for the classes one for each type.
        outputs: J.
        dim: E.
        iterations: routing iterations.
        for_classes: whether the parents are the classes, whose costs start elsewhere in the released code of EM.
    """

    def __init__(
        self, algorithm: Algorithm, inputs: int, outputs: int, dim: int, iterations: int, *, for_classes: bool
    ) -> None:
        super().__init__()
        self.algorithm, self.iterations = algorithm, iterations
        self.final_lambda = FINAL_LAMBDA / 4 if for_classes else FINAL_LAMBDA
        match algorithm:
            case Algorithm.em:
                cost_u, cost_a = (2.0, 1.0) if for_classes else (0.5, 0.5)
                self.cost_u_J = nn.Parameter(torch.full((outputs,), cost_u * (math.log(2 * math.pi) + 1) / 2))
                self.cost_a_J = nn.Parameter(torch.full((outputs,), -2500 * cost_a))
            case Algorithm.variational_bayes:
                self.pose_norm: nn.Module = nn.BatchNorm2d(outputs, affine=False)
                self.activation_norm = nn.BatchNorm2d(outputs, affine=False)
            case Algorithm.self_routing:
                self.route_weights_TEJ = nn.Parameter(torch.zeros(inputs, dim, outputs))
                self.route_bias_TJ = nn.Parameter(torch.zeros(inputs, outputs))
                self.pose_norm = nn.BatchNorm1d(outputs * dim, affine=False)

    def forward(
        self,
        votes: Votes,
        poses_MTE: Float[Tensor, "positions in_types dim"],
        activations_NI: Float[Tensor, "windows in_caps"],
        posterior: Callable[[Tensor], Tensor],
        *,
        with_coupling: bool = False,
    ) -> Routed:
        """Parents of every window; batch statistics are those of all windows of all images.

        Args:
            votes: of every window's capsules.
            poses_MTE: their poses, which windows of several positions hold one position after the other.
            activations_NI: their activations, which the algorithms without learned activations do not look at.
            posterior: normalises the E step of EM and variational Bayes.
            with_coupling: return the coupling coefficients of every iteration.
        """
        several: dict[str, Any] = {"iterations": self.iterations, "with_coupling": with_coupling}
        match self.algorithm:
            case Algorithm.em:
                return em_routing(
                    votes,
                    activations_NI,
                    self.cost_u_J,
                    self.cost_a_J,
                    final_lambda=self.final_lambda,
                    damping=DAMPING,
                    posterior=posterior,
                    **several,
                )
            case Algorithm.variational_bayes:
                routed = variational_bayes_routing(votes, activations_NI, posterior=posterior, **several)
                evidence = self.activation_norm(routed.activations[:, :, None, None])[:, :, 0, 0]
                return Routed(self.pose_norm(routed.poses[..., None])[..., 0], torch.sigmoid(evidence), routed.coupling)
            case Algorithm.self_routing:
                logits_MTJ = torch.einsum("mte,tej->mtj", poses_MTE, self.route_weights_TEJ) + self.route_bias_TJ
                logits_NIJ = logits_MTJ.reshape(*activations_NI.shape, -1)
                routed = self_routing(votes, activations_NI, logits_NIJ, with_coupling=with_coupling)
                return routed._replace(poses=self.pose_norm(routed.poses.flatten(1)).view_as(routed.poses))
            case Algorithm.dynamic:
                return dynamic_routing(votes, **several)
            case Algorithm.max_min:
                return max_min_routing(votes, **several)
            case _:
                return uniform_routing(votes, with_coupling=with_coupling)
