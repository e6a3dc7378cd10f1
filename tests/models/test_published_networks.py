"""Networks of the capsule literature: published sizes, gradients everywhere, every image on its own."""

import math

import pytest
import torch

from capsbench import config_models as keys
from capsbench.compose import compose
from capsbench.config_models import Routing, RoutingAlgorithm
from capsbench.errors import CapsbenchError
from capsbench.evaluation.cost import macs
from capsbench.models.build import build_model

CIFAR, GREY, NORB = (3, 32, 10), (1, 28, 10), (2, 32, 5)
TINY_MATRIX = {"stem_channels": 8, "types": [3, 4, 4]}
SMALL = {
    "em": keys.MatrixCapsNet(**TINY_MATRIX),
    "variational_bayes": keys.MatrixCapsNet(
        **TINY_MATRIX, algorithm=RoutingAlgorithm.variational_bayes, stem_batch_norm=True
    ),
    **{
        f"matrix_{algorithm}": keys.MatrixCapsNet(**TINY_MATRIX, algorithm=algorithm)
        for algorithm in keys.CONVOLUTIONAL[2:]
    },
    "efficient": keys.EfficientCapsNet(decoder_hidden=[8]),
    "self_routing": keys.SelfRoutingResNet(planes=4, blocks=1, types=4),
    "self_routing_dynamic": keys.SelfRoutingResNet(planes=4, blocks=1, types=4, routing=Routing()),
    "inverted": keys.InvertedAttentionNet(backbone=[4, 8], types=[3, 4, 4]),
    "inverted_sequential": keys.InvertedAttentionNet(backbone=[4, 8], types=[3, 4, 4], concurrent=False),
    "hvc": keys.HvcNet(filters=4, growth=2),
    "hvc_positions": keys.HvcNet(filters=4, growth=2, capsule_from_map=False, learned_branch_weights=False),
    "deepcaps": keys.DeepCaps(stem_channels=8, types=3, dims=[2, 4, 4, 4], class_dim=6),
}


def count(model):
    decoder = getattr(model, "decoder", None)
    numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return numbers - (sum(p.numel() for p in decoder.parameters()) if decoder is not None else 0)


@pytest.mark.parametrize(
    ("name", "frame", "expected"),
    [
        ("efficient_capsnet", GREY, 161_824),
        ("hvc_net", GREY, 1_514_187),
        ("inverted_attention_net", CIFAR, 1_828_817),
        ("self_routing_resnet", CIFAR, 931_664),
        ("deepcaps", GREY, 8_441_920),
        ("deepcaps", (3, 64, 10), 13_359_424),
        ("matrix_capsnet", NORB, 317_194),
        ("matrix_capsnet_small", NORB, 68_754),
    ],
)
def test_parameters_without_decoder(name, frame, expected):
    """Published: 161,824; about 1.5 million; 1.83 million; 0.9 million; two of deepcaps.py; 310K; 68K."""
    assert count(build_model(compose([f"model={name}"]).model, *frame)) == expected


def test_deepcaps_has_the_papers_7_2_million_with_class_capsules_of_8_dimensions():
    with torch.device("meta"):
        assert count(build_model(keys.DeepCaps(class_dim=8), 3, 32, 10)) == 7_215_184
        decoder = build_model(keys.DeepCaps(), *GREY).decoder
    assert sum(weight.numel() for weight in decoder.parameters()) == 58_417


def test_matrix_capsules_by_the_papers_sizes():
    stem, primary = 5 * 5 * 2 * 32 + 32, 32 * 32 * 17 + 32 * 17
    layer, classes = 9 * 32 * 32 * 16 + 2 * 32, 32 * 5 * 16 + 2 * 5
    assert count(build_model(keys.MatrixCapsNet(), *NORB)) == stem + primary + 2 * layer + classes
    assert stem + primary + 2 * layer + classes == pytest.approx(310_000, rel=0.03)


def test_self_routing_resnet_with_dynamic_routing_has_the_papers_5_8_million():
    assert count(build_model(keys.SelfRoutingResNet(routing=Routing()), *CIFAR)) == pytest.approx(5.8e6, rel=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    model = build_model(SMALL[name], *GREY)
    output = model(torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 3]))
    total = output.scores.square().sum() + output.poses.pow(3).sum()
    if output.reconstruction is not None:
        assert output.reconstruction.shape == (4, 1, 28, 28)
        total = total + output.reconstruction.square().sum()
    total.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
    moved = sum(bool(parameter.grad.abs().sum() > 0) for parameter in model.parameters())
    assert moved > 0.6 * len(list(model.parameters()))


@pytest.mark.parametrize("name", SMALL)
def test_an_image_in_a_batch_is_answered_as_alone(name):
    torch.manual_seed(0)
    # In double precision, as routing multiplies rounding errors, and processors round differently.
    model = build_model(SMALL[name], *GREY).double()
    images = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    model(images)
    model.eval()
    with torch.no_grad():
        together, alone = model(images, with_routing=True), model(images[1:2], with_routing=True)
    torch.testing.assert_close(together.scores[1:2], alone.scores, rtol=1e-6, atol=1e-8)
    if alone.coupling is not None:
        assert together.coupling.shape[3] == 10
        torch.testing.assert_close(together.coupling[:, 1:2], alone.coupling, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SMALL)
def test_scores_are_activations_where_the_losses_think_so(name):
    torch.manual_seed(0)
    scores = build_model(SMALL[name], *GREY)(torch.rand(8, 1, 28, 28)).scores
    inside = bool(scores.min() >= 0 and scores.max() <= 1 + 1e-6)
    assert inside or not keys.gives_activations(SMALL[name])


def test_concurrent_and_sequential_attention_are_the_same_for_one_iteration_only():
    for iterations, same in ((1, True), (2, False)):
        outputs = []
        for concurrent in (True, False):
            torch.manual_seed(0)
            cfg = keys.InvertedAttentionNet(
                backbone=[4, 8], types=[3, 4, 4], concurrent=concurrent, iterations=iterations
            )
            model = build_model(cfg, *GREY).eval()
            outputs.append(model(torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))).scores)
        assert torch.allclose(*outputs) is same


def test_branches_are_weighed_and_added():
    torch.manual_seed(0)
    model = build_model(SMALL["hvc"], *GREY).eval()
    images = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        parts = []
        for chosen in range(3):
            model.branch_weights.copy_(torch.eye(3)[chosen])
            parts.append(model(images).scores)
        model.branch_weights.copy_(torch.tensor([1.0, 2.0, 3.0]))
        torch.testing.assert_close(model(images).scores, parts[0] + 2 * parts[1] + 3 * parts[2])


def test_em_network_starts_with_the_released_codes_costs():
    model = build_model(SMALL["em"], *GREY)
    expected = 0.5 * (math.log(2 * math.pi) + 1) / 2
    torch.testing.assert_close(model.layers[0].routing.cost_u_J, torch.full((4,), expected))
    torch.testing.assert_close(model.routing.cost_a_J, torch.full((10,), -2500.0))


def test_too_small_images_are_refused():
    """By one pixel; the smallest size that is not refused gives an answer."""
    smallest = (
        (keys.CapsNet(primary_types=2), 17),
        (keys.EfficientCapsNet(), 27),
        (keys.HvcNet(), 19),
        (keys.MatrixCapsNet(**TINY_MATRIX), 17),
        (keys.InvertedAttentionNet(backbone=[4, 8], types=[3, 4, 4]), 13),
    )
    for cfg, size in smallest:
        with pytest.raises(CapsbenchError, match=f"too small for model.* {size} pixels are needed"):
            build_model(cfg, 1, size - 1, 10)
        assert build_model(cfg, 1, size, 10).eval()(torch.rand(2, 1, size, size)).scores.shape == (2, 10)


def test_controls_match_capsnet_in_parameters_and_in_macs():
    capsnet = build_model(compose(["model=capsnet", "model.reconstruction=false"]).model, *GREY).eval()
    equal_parameters = build_model(compose(["model=cnn_parameter_matched"]).model, *GREY)
    equal_macs = build_model(compose(["model=cnn_mac_matched"]).model, *GREY).eval()
    assert count(equal_parameters) == pytest.approx(count(capsnet), rel=0.001)
    frame, device = (1, 28, 28), torch.device("cpu")
    assert macs(equal_macs, frame, device) == pytest.approx(macs(capsnet, frame, device), rel=0.01)
