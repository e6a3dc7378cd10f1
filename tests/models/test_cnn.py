"""CNNs: published sizes, pooling as an axis that changes nothing else, and mistakes in the lists."""

import pytest
import torch
from torch import nn

from capsbench.compose import compose
from capsbench.config_models import Cnn as CnnKeys
from capsbench.config_models import Head, Padding, Pooling
from capsbench.errors import CapsbenchError
from capsbench.models.build import build_model

SHIPPED = ["cnn_baseline", "cnn_same_stem", "cnn_gu", "cnn_small"]


def shipped(name: str, *overrides: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(compose([f"model={name}", *overrides]).model, 1, 28, 10)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_papers_baseline_has_35_million_parameters():
    assert parameters(shipped("cnn_baseline")) == 35_445_522


def test_gu_has_five_million_parameters():
    """Gu, Tresp and Hu 2021 say 5.3 million: two 9x9 convolutions of 256 channels and one number a map."""
    by_hand = (81 * 256 + 256) + (81 * 256 * 256 + 256) + (256 * 10 + 10)
    assert parameters(shipped("cnn_gu")) == by_hand
    assert by_hand == pytest.approx(5.3e6, rel=0.01)


def test_the_same_stem_is_capsnets():
    """Same weights' shapes and the same 6x6 maps of 256 channels before the head."""
    cnn, capsnet = shipped("cnn_same_stem"), build_on_meta_capsnet()
    convolutions = [layer for layer in cnn.features if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].weight.shape == capsnet.stem.weight.shape
    assert convolutions[1].weight.shape == capsnet.primary.conv.weight.shape
    assert [layer.stride for layer in convolutions] == [(1, 1), (2, 2)]
    assert cnn.features(torch.empty(1, 1, 28, 28, device="meta")).shape == (1, 256, 6, 6)


def build_on_meta_capsnet() -> nn.Module:
    with torch.device("meta"):
        return build_model(compose(["model=capsnet"]).model, 1, 28, 10)


@pytest.mark.parametrize("name", SHIPPED)
def test_pooling_changes_neither_maps_nor_parameters(name):
    """`strided` puts the window into the convolution's stride, so that only what shrinks the maps differs."""
    maps, counts = {}, {}
    for pooling in (Pooling.max, Pooling.average, Pooling.strided):
        model = shipped(name, f"model.pooling={pooling}")
        maps[pooling] = model.features(torch.empty(2, 1, 28, 28, device="meta")).shape
        counts[pooling] = parameters(model)
        kinds = {type(layer) for layer in model.features}
        assert (nn.MaxPool2d in kinds) == (pooling is Pooling.max)
        assert (nn.AvgPool2d in kinds) == (pooling is Pooling.average)
    assert len(set(counts.values())) == 1
    assert len(set(maps.values())) == 1


def test_without_pooling_the_maps_keep_their_size():
    model = shipped("cnn_baseline")
    assert model.features(torch.empty(1, 1, 28, 28, device="meta")).shape == (1, 128, 28, 28)


def test_pooling_does_what_it_says():
    """One convolution that copies the image, then a 2x2 window."""
    image = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    expected = {Pooling.max: 6.0, Pooling.average: 3.0, Pooling.strided: 1.0}
    for pooling, value in expected.items():
        keys = CnnKeys(channels=[1], kernels=[1], strides=[1], windows=[2], pooling=pooling)
        model = build_model(keys, 1, 2, 2)
        nn.init.ones_(model.features[0].weight)
        nn.init.zeros_(model.features[0].bias)
        assert model.features(image).item() == value


@pytest.mark.parametrize("head", list(Head))
@pytest.mark.parametrize("size", [28, 29, 40])
def test_logits_and_features_for_any_size(head, size):
    """Odd sizes too: the head's width is worked out, not tried."""
    for pooling in Pooling:
        for padding in Padding:
            keys = CnnKeys(
                channels=[2, 4], kernels=[5, 3], strides=[1, 2], windows=[2, 3], pooling=pooling, padding=padding,
                head=head, hidden=[6], batch_norm=True,
            )  # fmt: skip
            model = build_model(keys, 3, size, 7).eval()
            output = model(torch.rand(2, 3, size, size))
            assert output.scores.shape == (2, 7)
            assert output.poses.shape == (2, 1, 6)
            assert output.reconstruction is None
            assert output.coupling is None


def test_heads_reduce_maps_to_one_number():
    maps = torch.randn(1, 4, 3, 3)
    pooled = {
        head: build_model(CnnKeys(channels=[4], kernels=[1], strides=[1], windows=[1], head=head), 1, 3, 2).head(maps)
        for head in Head
    }
    torch.testing.assert_close(pooled[Head.global_average], maps.mean(dim=(2, 3)))
    torch.testing.assert_close(pooled[Head.global_max], maps.amax(dim=(2, 3)))
    assert pooled[Head.flatten].shape == (1, 36)


def test_dropout_and_batch_norm_only_where_asked():
    plain, full = (build_model(CnnKeys(dropout=p, batch_norm=p > 0), 1, 8, 2) for p in (0.0, 0.5))
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(plain(images).scores, plain(images).scores)
    assert not torch.equal(full(images).scores, full(images).scores)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in full.features) == 2
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in plain.features)


def test_an_image_in_a_batch_is_answered_as_alone():
    torch.manual_seed(0)
    model = build_model(CnnKeys(batch_norm=True), 1, 12, 3).double().eval()
    images = torch.rand(3, 1, 12, 12, dtype=torch.float64)
    alone = torch.cat([model(image[None]).scores for image in images])
    torch.testing.assert_close(model(images).scores, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kernels": [5]}, "one entry per convolution"),
        ({"channels": [], "kernels": [], "strides": [], "windows": []}, "one entry per convolution"),
        ({"kernels": [5, 4]}, r"needs odd kernels, not model\.kernels=\[5, 4\]"),
        ({"windows": [8, 8]}, "leave no pixel"),
        ({"padding": Padding.valid, "kernels": [9, 9]}, "leave no pixel"),
    ],
)
def test_impossible_lists_are_refused(keys, message):
    with pytest.raises(CapsbenchError, match=message):
        build_model(CnnKeys(**keys), 1, 14, 10)


def test_an_unknown_family_is_refused():
    with pytest.raises(CapsbenchError, match="no network is known for a model configuration of type dict"):
        build_model({}, 1, 28, 10)
