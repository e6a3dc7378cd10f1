"""Combinations of capsule keys that cannot be, refused when the configuration is composed, with the reason."""

import pytest

from capsbench.compose import compose
from capsbench.config_models import CONVOLUTIONAL
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
    "model.routing.algorithm=uniform model.routing.iterations=5": "iterations=5 does nothing with",
    "model.routing.algorithm=self_attention model.routing.gradient=detach": "it is a key of dynamic, max_min",
    "model.routing.final_lambda=0.02": "final_lambda=0.02 does nothing with model.routing.algorithm=dynamic",
    "model.routing.algorithm=variational_bayes model.routing.min_variance=1e-3": "it is a key of em",
    "model.reconstruction=false model.decoder=deconvolution": "decoder that model.reconstruction=false leaves out",
    "model.reconstruction=false model.mask=independent": "decoder that model.reconstruction=false leaves out",
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
    "model.routing.algorithm=max_min model.routing.gradient=detach",
    "model.routing.algorithm=em model.routing.final_lambda=0.02 model.routing.min_variance=1e-3",
]


@pytest.mark.parametrize("overrides", REFUSED)
def test_refused_with_the_reason(overrides):
    with pytest.raises(CapsbenchError) as caught:
        compose(["model=capsnet_small", *overrides.split()])
    assert REFUSED[overrides] in str(caught.value)


@pytest.mark.parametrize("overrides", ALLOWED)
def test_allowed(overrides):
    compose(["model=capsnet_small", *overrides.split()])


@pytest.mark.parametrize("algorithm", CONVOLUTIONAL)
def test_matrix_capsules_route_by_algorithms_that_are_convolutional(algorithm):
    compose(["model=matrix_capsnet", f"model.algorithm={algorithm}"])


def test_matrix_capsules_refuse_the_others():
    with pytest.raises(CapsbenchError, match="not for convolutional capsule layers; those are em, variational_bayes"):
        compose(["model=matrix_capsnet", "model.algorithm=shared"])
    with pytest.raises(CapsbenchError, match="iterations=2 does nothing with"):
        compose(["model=matrix_capsnet", "model.algorithm=self_routing", "model.iterations=2"])


OPTIMIZERS = {
    "optimizer.momentum=0.8": "is a key of sgd and does nothing with optimizer.algorithm=adam",
    "optimizer.nesterov=true": "use optimizer.algorithm=sgd",
    "optimizer=sgd optimizer.beta1=0.8": "is a key of adam",
    "optimizer=sgd optimizer.momentum=0": "needs optimizer.momentum to be more than 0",
    "optimizer.schedule=multistep": "one needs the other",
    "optimizer.drops=[0.5]": "one needs the other",
    "optimizer=sgd_multistep optimizer.drops=[150,250]": "between 0 and 1",
    "optimizer.average_decay=1": "at least 0 and less than 1",
}


@pytest.mark.parametrize("overrides", OPTIMIZERS)
def test_optimizer_keys_without_effect_are_refused(overrides):
    with pytest.raises(CapsbenchError) as caught:
        compose(overrides.split())
    assert OPTIMIZERS[overrides] in str(caught.value)
