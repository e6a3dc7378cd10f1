"""Every axis along which the field ablates capsules is one override away: it composes, builds and changes the run.

The list is that of section 3.1 of the project's notes on the literature.
"""

import pytest
import torch

from capsbench.compose import compose
from capsbench.config import ClassLoss, class_loss, run_hash
from capsbench.config_models import RoutingAlgorithm
from capsbench.models.build import build_model

BASE = ("model=capsnet_small",)
CAPSNET = {
    "routing": [f"model.routing.algorithm={one}" for one in RoutingAlgorithm if one is not RoutingAlgorithm.dynamic],
    "no routing": ["model=cnn_same_stem", "model=cnn_gu"],
    "iterations": [f"model.routing.iterations={number}" for number in (1, 2, 5)],
    "gradient": ["model.routing.gradient=detach"],
    "normaliser": [
        *(f"model.routing.normaliser={one}" for one in ("softmax_in", "sigmoid", "max_min")),
        "model.routing.leaky=true",
    ],
    "transformation": ["model.transforms=per_type", "model.transforms=single"],
    "primary scale": ["model.primary_scale=one"],
    "padding": ["model.padding=same"],
    "bias": ["model.bias=false"],
    "squash": [f"model.squash={one}" for one in ("exponential", "layer_norm", "tanh", "none")],
    "class loss": [
        "loss.margin_form=paper",
        *(f"loss.classification={one}" for one in ("cross_entropy", "spread", "nll")),
    ],
    "reconstruction": ["model.reconstruction=false", "loss=paper", "loss.reconstruction_weight=0.01"],
    "decoder": ["model.decoder=deconvolution"],
    "mask": ["model.mask=independent"],
    "primary types": [f"model.primary_types={number}" for number in (16, 32, 64)],
    "dimensions": ["model.primary_dim=16", "model.class_dim=16"],
    "kernel": [f"model.{layer}_kernel={size}" for layer in ("stem", "primary") for size in (3, 5, 7)],
    "depth": ["model.stem_depth=2", "model.stem_depth=3"],
    "matched controls": ["model=cnn_parameter_matched", "model=cnn_mac_matched", "model=cnn_modern"],
    "augmentation": ["data.shift=0", "data=mnist_expanded", "data.affine=1"],
    "train fraction": ["data.train_images=5500"],
}
CNN = {
    "kernel": [f"model.kernels=[{size},{size}]" for size in (3, 7, 9)],
    "head": ["model.head=global_average", "model.head=global_max", "model.hidden=[]"],
    "pooling": ["model.pooling=average", "model.pooling=strided", "model.pooling=none"],
}


def one_by_one(axes):
    return [pytest.param(override, id=f"{axis}: {override}") for axis, values in axes.items() for override in values]


def assert_is_another_run(base, override):
    # A group takes the place of the group in the base; a single key changes it.
    kept = [word for word in base if word.partition("=")[0] != override.partition("=")[0]]
    plain, cfg = compose(base), compose([*kept, override])
    assert run_hash(cfg) != run_hash(plain)
    with torch.device("meta"):
        build_model(cfg.model, 1, 28 + 2 * cfg.data.pad, 10)


@pytest.mark.parametrize("override", one_by_one(CAPSNET))
def test_one_override_reaches_the_axis_of_a_capsnet(override):
    assert_is_another_run(BASE, override)


@pytest.mark.parametrize("override", one_by_one(CNN))
def test_one_override_reaches_the_axis_of_a_cnn(override):
    assert_is_another_run(("model=cnn_small",), override)


def test_no_matrices_at_all_needs_routing_that_tells_classes_apart_without_them():
    compose([*BASE, "model.routing.algorithm=random_fixed", "model.transforms=none"])


def test_squash_without_bound_gets_a_loss_for_logits():
    for squash in ("layer_norm", "none"):
        assert class_loss(compose([*BASE, f"model.squash={squash}"])) is ClassLoss.cross_entropy
