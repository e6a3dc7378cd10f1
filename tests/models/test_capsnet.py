"""The whole CapsNet: against loops written from the paper, in its sizes, its initial weights and its independence."""

import pytest
import torch
from torch import nn

import paper_loops
from capsbench.capsules.decoder import Decoder
from capsbench.compose import compose
from capsbench.config_models import CapsNet as CapsNetKeys
from capsbench.config_models import Initialization, MarginForm, Padding, PrimaryScale, Routing, RoutingGradient
from capsbench.errors import CapsbenchError
from capsbench.losses import margin_loss, reconstruction_loss
from capsbench.models.build import build_model
from capsbench.models.capsnet import CapsNet
from capsbench.models.image_size import same_padding

CLASSES = 3
SMALL = {
    "stem_channels": 3,
    "stem_kernel": 3,
    "primary_types": 2,
    "primary_dim": 3,
    "primary_kernel": 3,
    "class_dim": 4,
    "decoder_hidden": [5],
}


def small(**keys) -> CapsNet:
    """A network for 8x8 images with weights large enough for every part to matter."""
    torch.manual_seed(0)
    model = build_model(CapsNetKeys(**{**SMALL, **keys}), 1, 8, CLASSES).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    assert isinstance(model, CapsNet)
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, 8, 8, dtype=torch.float64)


def padded(maps: torch.Tensor, kernel: int, stride: int, padding: Padding) -> torch.Tensor:
    """Zeros around the maps, one more at the lower and right edges, until windows start at every `stride`-th pixel."""
    zeros = [0, 0]
    while padding is Padding.same and (maps.shape[1] + sum(zeros) - kernel) // stride + 1 < -(-maps.shape[1] // stride):
        zeros[sum(zeros) % 2 == 0] += 1
    return nn.functional.pad(maps, [*zeros, *zeros])


def loops(model: CapsNet, images: torch.Tensor, labels: list[int]):
    """Lengths, poses and rebuilt pixels of the network's weights, by the paper's equations one after another."""
    cfg = model.cfg
    scale = 1 / cfg.primary_types if cfg.primary_scale is PrimaryScale.inverse_types else 1
    decoder = model.decoder
    assert isinstance(decoder, Decoder)
    layers = [(layer.weight, layer.bias) for layer in decoder.layers if isinstance(layer, nn.Linear)]
    answers = []
    for image, label in zip(images, labels, strict=True):
        around = padded(image, cfg.stem_kernel, 1, cfg.padding)
        maps = paper_loops.convolve(around, model.stem.weight, 1) + model.stem.bias[:, None, None]
        maps = padded(torch.clamp(maps, min=0), cfg.primary_kernel, cfg.primary_stride, cfg.padding)
        sums = paper_loops.convolve(maps, model.primary.conv.weight, cfg.primary_stride) * scale
        sums = sums + model.primary.bias[:, None, None]
        capsules = paper_loops.primary_capsules(sums, cfg.primary_types, cfg.primary_dim)
        votes = paper_loops.cast_votes(capsules, model.class_capsules.transforms_JDIE)
        detach = cfg.routing.gradient is RoutingGradient.detach
        routed = paper_loops.route(
            votes, model.class_capsules.bias_JE, cfg.routing.iterations, leaky=cfg.routing.leaky, detach=detach
        )
        lengths = [paper_loops.length(pose) for pose in routed.poses]
        answers.append((lengths, routed.poses, paper_loops.decode(routed.poses, label, layers)))
    return answers


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"primary_scale": PrimaryScale.one, "bias": False, "routing": Routing(iterations=2)},
        {"routing": Routing(gradient=RoutingGradient.detach, leaky=True)},
        {"padding": Padding.same},
        {"padding": Padding.same, "primary_kernel": 5, "primary_stride": 1},
    ],
    ids=["released", "paper", "detached and leaky", "padded on one side more", "padded equally"],
)
def test_equals_the_papers_equations(images, keys):
    """Outputs, the paper's loss and the gradient of every weight, in double precision."""
    model, labels = small(**keys), [2, 0]
    answers = loops(model, images, labels)
    slow = torch.zeros((), dtype=torch.float64)
    for image, label, (lengths, _, pixels) in zip(images, labels, answers, strict=True):
        error = sum((x - y) ** 2 for x, y in zip(pixels, image.flatten(), strict=True))
        slow = slow + (paper_loops.margin_loss(lengths, label) + 0.0005 * error) / len(images)

    output = model(images, torch.tensor(labels))
    targets = nn.functional.one_hot(torch.tensor(labels), CLASSES).double()
    fast = margin_loss(output.scores, targets, form=MarginForm.paper)
    fast = fast + 0.0005 * reconstruction_loss(output.reconstruction, images)

    torch.testing.assert_close(output.scores, torch.stack([torch.stack(lengths) for lengths, _, _ in answers]))
    torch.testing.assert_close(output.poses, torch.stack([torch.stack(poses) for _, poses, _ in answers]))
    torch.testing.assert_close(output.reconstruction.flatten(1), torch.stack([pixels for _, _, pixels in answers]))
    torch.testing.assert_close(fast, slow)
    weights = dict(model.named_parameters())
    assert len(weights) == (10 if model.cfg.bias else 9)
    by_hand, by_layers = (torch.autograd.grad(loss, list(weights.values())) for loss in (slow, fast))
    for name, one, other in zip(weights, by_layers, by_hand, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")
        assert other.abs().max() > 1e-9, name


def parameters(*overrides: str, classes: int = 10) -> int:
    cfg = compose(overrides)
    with torch.device("meta"):
        model = build_model(cfg.model, 1, 28 + 2 * cfg.data.pad, classes)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model=capsnet"], 8_215_728),
        (["model=capsnet", "model.reconstruction=false"], 6_804_384),
        (["model=capsnet", "model.bias=false"], 8_215_568),
        (["model=capsnet", "model.bias=false", "model.reconstruction=false"], 6_804_224),
        (["model=capsnet_paper"], 8_215_568),
        (["model=capsnet", "data.pad=4"], 11_361_968),
        (["model=capsnet", "data=mnist_expanded"], 13_475_808),
        (["model=capsnet", "data=mnist_expanded", "model.reconstruction=false"], 11_228_064),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parameters_are_the_papers(overrides, expected):
    assert parameters(*overrides) == expected


def test_padded_on_cifar10_as_the_released_code_is():
    """Its flags num_prime_capsules=64,padding=SAME on 24x24 windows make 22,476,448 parameters."""
    cfg = compose(["experiment=sabour2017/cifar10"])
    with torch.device("meta"):
        model = build_model(cfg.model, 3, cfg.data.crop, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_476_448
    assert model.primary_shape == (64, 12, 12)


def test_padding_as_tensorflow_has_it():
    """Zeros before and after, from its documentation's rule for "SAME"."""
    assert [same_padding(*shape) for shape in ((24, 9, 1), (24, 9, 2), (7, 3, 2), (8, 1, 2), (5, 2, 1))] == [
        (4, 4), (3, 4), (1, 1), (0, 0), (0, 1),
    ]  # fmt: skip


def test_the_small_pair_has_equally_many_parameters():
    capsnet, cnn = parameters("model=capsnet_small", "model.reconstruction=false"), parameters("model=cnn_small")
    assert abs(capsnet - cnn) / cnn < 0.05


def test_the_papers_capsule_counts():
    """1152 primary capsules of 8 dimensions from 28x28 pixels, 4608 from 40x40, routed to ten of 16."""
    with torch.device("meta"):
        for size, side in ((28, 6), (40, 12)):
            model = build_model(compose(["model=capsnet"]).model, 1, size, 10)
            assert model.primary_shape == (32, side, side)
            assert model.class_capsules.transforms_JDIE.shape == (10, 8, 32 * side * side, 16)


def test_an_image_in_a_batch_is_answered_as_alone(images):
    """Also when its neighbours are extreme."""
    model = small()
    batch = torch.cat([images, torch.ones(3, 1, 8, 8).double(), torch.zeros(1, 1, 8, 8).double(), images.flip(0)])
    together = model(batch, with_routing=True)
    for index, image in enumerate(batch):
        alone = model(image[None], with_routing=True)
        torch.testing.assert_close(together.scores[index], alone.scores[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.reconstruction[index], alone.reconstruction[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.coupling[:, index], alone.coupling[:, 0], rtol=1e-12, atol=1e-12)


def test_only_the_fields_over_a_changed_pixel_move_their_capsules(images):
    """The top left pixel is under the field of position (0, 0) alone: all of its capsules change, and no other."""
    model = small(primary_types=6)
    changed = images.clone()
    changed[:, :, 0, 0] = 1 - changed[:, :, 0, 0] + 0.5
    before, after = (model(x, with_routing=True).primary_lengths for x in (images, changed))
    moved = (before != after).all(dim=0).view(model.primary_shape)
    assert moved[:, 0, 0].all()
    assert moved.sum() == 6


def test_the_decoder_sees_the_label_or_else_the_longest_capsule(images):
    model = small()
    output = model(images)
    assert torch.equal(output.reconstruction, model(images, output.scores.argmax(dim=1)).reconstruction)
    other = (output.scores.argmax(dim=1) + 1) % CLASSES
    told = model(images, other)
    assert not torch.allclose(told.reconstruction, output.reconstruction)
    assert torch.equal(told.scores, output.scores)


def test_outputs_have_their_shapes_and_scores_are_lengths(images):
    model = small()
    output = model(images, with_routing=True)
    inputs = 2 * 2 * 2
    assert output.scores.shape == (2, CLASSES)
    assert ((output.scores > 0) & (output.scores < 1)).all()
    torch.testing.assert_close(output.scores, torch.linalg.vector_norm(output.poses, dim=-1))
    assert output.coupling.shape == (3, 2, inputs, CLASSES)
    torch.testing.assert_close(output.coupling.sum(dim=-1), torch.ones(3, 2, inputs, dtype=torch.float64))
    assert output.primary_lengths.shape == (2, inputs)
    plain = model(images)
    assert plain.coupling is None
    assert plain.primary_lengths is None
    assert small(reconstruction=False)(images).reconstruction is None


def test_too_small_images_are_refused():
    with pytest.raises(CapsbenchError, match=r"16x16 are too small for model\.stem_kernel=9 .* 17 pixels are needed"):
        build_model(CapsNetKeys(), 1, 16, 10)
    with torch.device("meta"):
        smallest = build_model(CapsNetKeys(), 1, 17, 10)
    assert smallest.primary_shape == (32, 1, 1)


def test_official_initialisation():
    """Truncated normals, 0.05 in the stem and 0.1 elsewhere, and every bias 0.1, as the released code has it."""
    torch.manual_seed(0)
    keys = CapsNetKeys(stem_channels=64, primary_types=8, decoder_hidden=[64, 128])
    model = build_model(keys, 1, 28, 10)
    drawn = 0
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "bias_JE")):
            assert torch.equal(parameter, torch.full_like(parameter, 0.1)), name
            continue
        drawn += 1
        std = 0.05 if name == "stem.weight" else 0.1
        # A normal cut at two standard deviations keeps 0.8796 of its standard deviation.
        assert parameter.std().item() == pytest.approx(0.8796 * std, rel=0.03), name
        assert abs(parameter.mean().item()) < 0.03 * std, name
        assert parameter.abs().max() <= 2 * std, name
        assert parameter.abs().max() > 1.9 * std, name
    assert drawn == 6
    assert model.primary.scale == 1 / 8


def test_torch_initialisation():
    """PyTorch's uniform bounds for convolutions and decoder, small normals for the transformation matrices."""
    torch.manual_seed(0)
    keys = CapsNetKeys(
        stem_channels=64, primary_types=8, initialization=Initialization.torch, primary_scale=PrimaryScale.one
    )
    model = build_model(keys, 1, 28, 10)
    assert model.class_capsules.transforms_JDIE.std().item() == pytest.approx(0.01, rel=0.02)
    assert model.class_capsules.transforms_JDIE.abs().max() > 0.03
    for weight, fan_in in ((model.stem.weight, 81), (model.primary.conv.weight, 64 * 81)):
        bound = fan_in**-0.5
        assert bound * 0.95 < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert torch.equal(model.class_capsules.bias_JE, torch.zeros(10, 16))
    assert model.primary.scale == 1


def test_official_initialisation_keeps_primary_capsules_short():
    """With 1/32 and a bias of 0.1 they start near a length of 0.1; without it the same weights saturate them."""
    torch.manual_seed(0)
    images = torch.rand(2, 1, 28, 28)
    means = {}
    for scale in PrimaryScale:
        model = build_model(CapsNetKeys(primary_scale=scale, reconstruction=False), 1, 28, 10)
        with torch.no_grad():
            means[scale] = model(images, with_routing=True).primary_lengths.mean().item()
    assert 0.05 < means[PrimaryScale.inverse_types] < 0.3
    assert means[PrimaryScale.one] > 0.9


def test_bf16_autocast_is_close_to_single_precision():
    torch.manual_seed(0)
    model = build_model(compose(["model=capsnet_small"]).model, 1, 28, 10)
    images = torch.rand(4, 1, 28, 28)
    exact = model(images, torch.arange(4))
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(images, torch.arange(4))
    assert rough.scores.dtype is torch.float32
    assert rough.reconstruction.dtype is torch.float32
    torch.testing.assert_close(rough.scores, exact.scores, rtol=0.02, atol=0.005)
    torch.testing.assert_close(rough.reconstruction, exact.reconstruction, rtol=0, atol=0.02)


def test_saved_weights_come_back(tmp_path):
    model = small()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = small()
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    images = torch.rand(2, 1, 8, 8).double()
    assert torch.equal(model(images).scores, other(images).scores)
