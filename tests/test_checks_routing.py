"""Combinations of capsule keys that cannot be, refused when the configuration is composed, with the reason."""

import pytest

from capsbench.compose import compose
from capsbench.errors import CapsbenchError

REFUSED = {
    "model.routing.algorithm=homogeneous loss.classification=margin": "routing.algorithm=homogeneous does not give",
    "model.routing.algorithm=inverted_attention loss.classification=nll": "needs scores that are capsule lengths",
    "model.squash=layer_norm loss.classification=margin": "model.squash=layer_norm does not give",
    "model.squash=none loss.classification=spread": "model.squash=none does not give",
    "model.routing.algorithm=em model.squash=none": "which model.squash=none does not bound",
    "model.routing.algorithm=self_routing model.squash=layer_norm": "use hinton, exponential or tanh",
    "model.routing.algorithm=em model.routing.leaky=true": "adds a parent to the softmax",
    "model.routing.normaliser=sigmoid model.routing.leaky=true": "adds a parent to the softmax",
    "model.routing.algorithm=em model.routing.normaliser=sigmoid": "has its own rule",
    "model.routing.algorithm=shared model.transforms=per_type": "a single matrix per class",
    "model.transforms=none": "cannot tell them apart",
    "model.routing.algorithm=random_fixed model.transforms=none model.class_dim=16": "must equal",
    "model.routing.final_lambda=0": "must be more than 0",
    "loss.spread_end=1.5": "less than 1",
    "model.routing.algorithm=agreement": "expected one of",
}
ALLOWED = [
    "model.routing.algorithm=self_routing model.transforms=none",
    "model.routing.algorithm=shared model.transforms=single",
    "model.routing.normaliser=softmax_in",
    "model.squash=layer_norm",
    "model.squash=tanh model.routing.algorithm=em",
    "model.transforms=per_type",
    "model.decoder=deconvolution model.mask=independent",
    "model.routing.leaky=true",
]


@pytest.mark.parametrize("overrides", REFUSED)
def test_refused_with_the_reason(overrides):
    with pytest.raises(CapsbenchError) as caught:
        compose(["model=capsnet_small", *overrides.split()])
    assert REFUSED[overrides] in str(caught.value)


@pytest.mark.parametrize("overrides", ALLOWED)
def test_allowed(overrides):
    compose(["model=capsnet_small", *overrides.split()])


def test_matrix_capsules_route_by_one_of_their_two_algorithms():
    with pytest.raises(CapsbenchError, match="must be em or variational_bayes"):
        compose(["model=matrix_capsnet", "model.algorithm=dynamic"])
