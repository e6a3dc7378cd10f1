"""Class capsules: transformation matrices, what else a routing algorithm learns, and the one place that picks it.

An algorithm that learns nothing of its own and asks for no key of its own is looked up by its name: `NAME_routing` in
`capsules/routing/NAME.py`. All others have a case in `ClassCapsules._route`.

Letters: B batch, I input capsules, T their types, P positions (I = T * P), J classes, D and E input and output pose
dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsbench import config_models as keys
from capsbench.capsules.routing.attention import attention_routing
from capsbench.capsules.routing.dynamic import dynamic_routing
from capsbench.capsules.routing.em import em_routing
from capsbench.capsules.routing.homogeneous import homogeneous_capsules
from capsbench.capsules.routing.inverted_attention import inverted_attention_routing
from capsbench.capsules.routing.max_min import max_min_routing
from capsbench.capsules.routing.random_fixed import draw_coupling, random_fixed_routing
from capsbench.capsules.routing.result import Routed
from capsbench.capsules.routing.self_attention import self_attention_routing
from capsbench.capsules.routing.self_routing import self_routing
from capsbench.capsules.routing.shared import shared_transform
from capsbench.capsules.routing.uniform import uniform_routing
from capsbench.capsules.routing.variational_bayes import variational_bayes_routing
from capsbench.capsules.squash import activation_of, at_least_fp32
from capsbench.capsules.votes import FactoredVotes, StoredVotes, Votes
from capsbench.config_models import RoutingAlgorithm as Algorithm

SAME_VOTES = (Algorithm.random_fixed, Algorithm.self_attention)
NO_BIAS = (*keys.OWN_ACTIVATION, *keys.OWN_LOGITS)


def named_routing(algorithm: Algorithm) -> Callable[..., Routed] | None:
    """`NAME_routing` in `capsules/routing/NAME.py`, if there is one."""
    found: Callable[..., Routed] | None = getattr(
        import_module(f"capsbench.capsules.routing.{algorithm}"), f"{algorithm}_routing", None
    )
    return found


class ClassCapsules(nn.Module):
    """The last layer of a capsule network: from all input capsules to one capsule a class.

    Algorithms that need activations of the input capsules (em, variational_bayes, self_routing) take their lengths
    unless the caller has learned ones. Class activations are lengths, or what the algorithm defines; the poses of
    `inverted_attention` and of a layer-normalising squash, whose lengths say nothing, are read out by one linear map
    that all classes share.

    Args:
        routing: algorithm and its keys.
        types: capsule types of the input.
        positions: positions of each type.
        in_dim: D.
        classes: J.
        dim: E; `homogeneous` keeps D instead.
        transforms: which input capsules share matrices; `shared` always has a single one per class.
        squash_kind: squashing function, of the input capsules too.
        bias: whether class capsules have a bias, in algorithms that have one.
        poses_used: whether anything but the class activations is used. If not, `self_routing` goes without matrices,
            which its activations do not depend on.
    """

    def __init__(
        self,
        routing: keys.Routing,
        *,
        types: int,
        positions: int,
        in_dim: int,
        classes: int,
        dim: int,
        transforms: keys.TransformSharing = keys.TransformSharing.per_pair,
        squash_kind: keys.Squash = keys.Squash.hinton,
        bias: bool = True,
        poses_used: bool = True,
    ) -> None:
        super().__init__()
        algorithm = routing.algorithm
        if algorithm is Algorithm.shared:
            transforms = keys.TransformSharing.single
        if algorithm is Algorithm.self_routing and not poses_used:
            transforms = keys.TransformSharing.none
        if algorithm is Algorithm.homogeneous or transforms is keys.TransformSharing.none:
            dim = in_dim
        self.routing, self.squash_kind, self.transforms, self.dim = routing, squash_kind, transforms, dim
        self.types, self.positions, self.in_dim, self.classes = types, positions, in_dim, classes
        shared = {"per_pair": types * positions, "per_type": types, "single": 1, "none": 0}[transforms]
        shape = (classes, in_dim, shared, dim) if algorithm is not Algorithm.homogeneous else (classes, in_dim, shared)
        self.transforms_JDIE = nn.Parameter(torch.empty(shape)) if shared else None
        has_bias = bias and algorithm not in NO_BIAS
        self.bias_JE = nn.Parameter(torch.zeros(classes, dim)) if has_bias else None
        squashed = algorithm not in NO_BIAS
        linear = algorithm is Algorithm.inverted_attention or (squashed and squash_kind is keys.Squash.layer_norm)
        self.read_out = nn.Linear(dim, 1) if linear else None
        self.named = named_routing(algorithm)
        self._add_parameters(algorithm, types * positions)

    def _add_parameters(self, algorithm: Algorithm, inputs: int) -> None:
        classes, dim, types = self.classes, self.dim, self.types
        match algorithm:
            case Algorithm.random_fixed:
                self.coupling_JI = nn.Buffer(draw_coupling(inputs, classes))
            case Algorithm.em:
                self.cost_u_J = nn.Parameter(torch.zeros(classes))
                self.cost_a_J = nn.Parameter(torch.zeros(classes))
            case Algorithm.variational_bayes:
                self.pose_norm: nn.Module = nn.BatchNorm1d(classes, affine=False)
                self.activation_norm = nn.BatchNorm1d(classes, affine=False)
            case Algorithm.self_routing:
                self.route_weights_IDJ = nn.Parameter(torch.zeros(inputs, self.in_dim, classes))
                self.route_bias_IJ = nn.Parameter(torch.zeros(inputs, classes))
            case Algorithm.inverted_attention:
                self.pose_norm = nn.LayerNorm(dim)
            case Algorithm.self_attention:
                self.offset_JI = nn.Parameter(torch.zeros(classes, inputs))
            case Algorithm.attention:
                self.vote_bias_TJE = nn.Parameter(torch.zeros(types, classes, dim))
                self.attention_JSET = nn.Parameter(torch.randn(classes, types, dim, types) / (types * dim) ** 0.5)
                self.activation_JEF = nn.Parameter(torch.randn(classes, dim, dim) / dim**0.5)
            case Algorithm.homogeneous:
                self.pose_norm = nn.BatchNorm1d(dim, affine=False)
                self.pose_offset_D = nn.Parameter(torch.zeros(dim))

    def expanded_transforms(self) -> Float[Tensor, "classes in_dim in_caps *dim"]:
        """The matrices with shared ones repeated, so that there is one for every input capsule."""
        assert self.transforms_JDIE is not None
        weights = self.transforms_JDIE
        if self.transforms is keys.TransformSharing.per_type:
            return weights.repeat_interleave(self.positions, dim=2)
        if self.transforms is keys.TransformSharing.single:
            return weights.expand(-1, -1, self.types * self.positions, *weights.shape[3:])
        return weights

    def votes(self, poses_BID: Float[Tensor, "batch in_caps in_dim"]) -> Votes:
        """What every input capsule predicts for every class; without matrices its own pose, for all classes alike."""
        if self.transforms_JDIE is None:
            return StoredVotes(poses_BID[:, :, None, :].expand(-1, -1, self.classes, -1))
        return FactoredVotes(poses_BID, self.expanded_transforms())

    def votes_of_types(self, poses_BID: Float[Tensor, "batch in_caps in_dim"]) -> Votes:
        """Votes summed over the positions of a capsule type."""
        poses_TBX = poses_BID.view(-1, self.types, self.positions, self.in_dim).permute(1, 0, 3, 2).flatten(2)
        shape = (self.classes, self.in_dim, self.types, self.positions, self.dim)
        matrices = self.expanded_transforms().reshape(shape)
        matrices_TXN = matrices.permute(2, 1, 3, 0, 4).flatten(3).flatten(1, 2)
        sums_BTJE = torch.bmm(poses_TBX, matrices_TXN).transpose(0, 1).reshape(-1, self.types, self.classes, self.dim)
        return StoredVotes(sums_BTJE + self.vote_bias_TJE)

    @contextmanager
    def uniform_coupling(self) -> Iterator[bool]:
        """Within this, the same weights are routed uniformly; yields whether the algorithm has such a counterpart.

        For iterative algorithms it is their first iteration. Where coupling is all that tells the classes apart
        (self_routing), or where there is none, there is no counterpart and nothing changes.
        """
        routing, named, algorithm = self.routing, self.named, self.routing.algorithm
        if algorithm in keys.ITERATIVE:
            self.routing = replace(routing, iterations=1)
        elif algorithm in SAME_VOTES:
            self.routing, self.named = replace(routing, algorithm=Algorithm.uniform), uniform_routing
        try:
            yield self.routing is not routing
        finally:
            self.routing, self.named = routing, named

    def forward(
        self,
        poses_BID: Float[Tensor, "batch in_caps in_dim"],
        activations_BI: Float[Tensor, "batch in_caps"] | None = None,
        *,
        with_coupling: bool = False,
    ) -> Routed:
        """Route input capsules to classes.

        Args:
            poses_BID: input poses, index type * positions + position.
            activations_BI: their activations; None: their lengths. Only some algorithms look at them.
            with_coupling: return the coupling coefficients of every iteration, where the algorithm has any.
        """
        if activations_BI is None and self.routing.algorithm in keys.OWN_ACTIVATION:
            activations_BI = activation_of(at_least_fp32(poses_BID), self.squash_kind)
        routed = self._route(poses_BID, activations_BI, with_coupling=with_coupling)
        if self.read_out is None:
            return routed
        return routed._replace(activations=self.read_out(routed.poses).squeeze(-1))

    def _route(self, poses_BID: Tensor, activations_BI: Tensor | None, *, with_coupling: bool) -> Routed:
        cfg = self.routing
        squashed: Any = {"squash_kind": self.squash_kind, "with_coupling": with_coupling}
        match cfg.algorithm:
            case Algorithm.dynamic:
                return dynamic_routing(
                    self.votes(poses_BID),
                    self.bias_JE,
                    iterations=cfg.iterations,
                    gradient=cfg.gradient,
                    leaky=cfg.leaky,
                    normaliser=cfg.normaliser,
                    **squashed,
                )
            case Algorithm.max_min:
                return max_min_routing(
                    self.votes(poses_BID), self.bias_JE, iterations=cfg.iterations, gradient=cfg.gradient, **squashed
                )
            case Algorithm.random_fixed:
                return random_fixed_routing(self.votes(poses_BID), self.coupling_JI, self.bias_JE, **squashed)
            case Algorithm.shared:
                assert self.transforms_JDIE is not None
                return shared_transform(poses_BID, self.transforms_JDIE[:, :, 0], self.bias_JE, **squashed)
            case Algorithm.self_attention:
                return self_attention_routing(self.votes(poses_BID), self.offset_JI, self.bias_JE, **squashed)
            case Algorithm.attention:
                return self._attention(poses_BID, **squashed)
            case Algorithm.inverted_attention:
                return inverted_attention_routing(
                    self.votes(poses_BID), self.pose_norm, iterations=cfg.iterations, with_coupling=with_coupling
                )
            case Algorithm.homogeneous:
                return homogeneous_capsules(poses_BID, self.expanded_transforms(), self._normalise_homogeneous)
            case Algorithm.em | Algorithm.variational_bayes | Algorithm.self_routing:
                assert activations_BI is not None
                return self._route_activations(poses_BID, activations_BI, with_coupling=with_coupling)
            case _:
                assert self.named is not None
                return self.named(self.votes(poses_BID), self.bias_JE, **squashed)

    def _route_activations(self, poses_BID: Tensor, activations_BI: Tensor, *, with_coupling: bool) -> Routed:
        """The algorithms that look at activations of the input capsules."""
        cfg, votes = self.routing, self.votes(poses_BID)
        match cfg.algorithm:
            case Algorithm.em:
                return em_routing(
                    votes,
                    activations_BI,
                    self.cost_u_J,
                    self.cost_a_J,
                    iterations=cfg.iterations,
                    final_lambda=cfg.final_lambda,
                    min_variance=cfg.min_variance,
                    with_coupling=with_coupling,
                )
            case Algorithm.variational_bayes:
                routed = variational_bayes_routing(
                    votes, activations_BI, iterations=cfg.iterations, with_coupling=with_coupling
                )
                evidence_BJ = torch.sigmoid(self.activation_norm(routed.activations))
                return Routed(self.pose_norm(routed.poses), evidence_BJ, routed.coupling)
            case _:
                logits_BIJ = torch.einsum("bid,idj->bij", poses_BID, self.route_weights_IDJ) + self.route_bias_IJ
                return self_routing(votes, activations_BI, logits_BIJ, with_coupling=with_coupling)

    def _attention(self, poses_BID: Tensor, *, squash_kind: keys.Squash, with_coupling: bool) -> Routed:
        routed = attention_routing(
            self.votes_of_types(poses_BID),
            self.attention_JSET,
            self.activation_JEF,
            self.bias_JE,
            squash_kind=squash_kind,
            with_coupling=with_coupling,
        )
        if routed.coupling is None:
            return routed
        return routed._replace(coupling=routed.coupling.repeat_interleave(self.positions, dim=2))

    def _normalise_homogeneous(self, sums_BJD: Tensor) -> Tensor:
        normal: Tensor = self.pose_norm(sums_BJD.flatten(0, 1)) + self.pose_offset_D
        return normal.view_as(sums_BJD)
