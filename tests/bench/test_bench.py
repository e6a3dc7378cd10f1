"""The bench on tiny networks: the arms do what they say, and the figures hang together."""

import json
import multiprocessing

import pytest
import torch

from capsbench.bench import bench as module
from capsbench.bench.apart import build_apart
from capsbench.bench.arms import build_arm, example
from capsbench.bench.bench import bench, expand, keep, table
from capsbench.bench.naive import NaiveCapsNet
from capsbench.compose import compose
from capsbench.config_models import CapsNet, PrimaryScale, RoutingAlgorithm
from capsbench.errors import CapsbenchError
from capsbench.models.build import build_model
from capsbench.training.hardware import Machine

TINY = [
    "model=capsnet_small",
    "model.stem_channels=4",
    "model.primary_types=2",
    "model.decoder_hidden=[16]",
    "data=mnist_small",
]


def test_the_naive_network_computes_what_the_fast_one_does():
    cfg = compose([*TINY, "model.primary_scale=one", "model.bias=false"]).model
    assert isinstance(cfg, CapsNet)
    assert cfg.primary_scale is PrimaryScale.one
    fast, naive = build_model(cfg, 1, 28, 10).double(), NaiveCapsNet(cfg, 1, 28, 10).double()
    with torch.no_grad():
        naive.stem.load_state_dict(fast.stem.state_dict())
        naive.primary.weight.copy_(fast.primary.conv.weight)
        naive.primary.bias.copy_(fast.primary.bias)
        # J D I E to J I E D
        weight = next(value for name, value in fast.named_parameters() if "transforms" in name)
        naive.weight.copy_(weight.permute(0, 2, 3, 1))
        for ours, theirs in zip(
            [layer for layer in naive.decoder if isinstance(layer, torch.nn.Linear)],
            [layer for layer in fast.decoder.layers if isinstance(layer, torch.nn.Linear)],
            strict=True,
        ):
            ours.load_state_dict(theirs.state_dict())
    images, labels = (
        value.double() if value.is_floating_point() else value for value in example(3, torch.device("cpu"))
    )
    expected, found = fast(images, labels), naive(images, labels)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.reconstruction, expected.reconstruction.float(), rtol=1e-5, atol=1e-6)


def test_an_unknown_arm_names_the_valid_ones():
    with pytest.raises(CapsbenchError, match="unknown arm 'fastest'; valid: compiled, eager"):
        build_arm("fastest", TINY, 4, Machine("cpu", "32-true"))


def test_a_cnn_has_no_naive_capsules():
    with pytest.raises(CapsbenchError, match="needs a CapsNet"):
        build_arm("naive", ["model=cnn_small"], 4, Machine("cpu", "32-true"))


def test_routing_stands_for_every_algorithm_once():
    names = expand(["eager", "routing", "eager"])
    assert names[0] == "eager"
    assert len(names) == 1 + len(RoutingAlgorithm)
    assert "model.routing.algorithm=em" in names


def test_an_arm_apart_is_the_same_arm():
    arm = build_apart("naive", TINY, 4)
    here = build_arm("naive", TINY, 4, Machine("cpu", "32-true"))
    assert (arm.name, arm.parameters, arm.macs) == (here.name, here.parameters, here.macs)
    seconds = arm.turn(3)
    assert len(seconds) == 3
    assert min(seconds) > 0
    arm.evaluate()


def test_the_death_of_an_arm_apart_is_said_in_one_line():
    arm = build_apart("naive", TINY, 4)
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    with pytest.raises(CapsbenchError, match="the process of the naive arm has died"):
        arm.turn(1)


def test_what_an_arm_apart_is_refused_for_is_said_here():
    with pytest.raises(CapsbenchError, match="needs a CapsNet"):
        build_apart("naive", ["model=cnn_small"], 4)


@pytest.mark.slow
def test_bench_times_arms_and_keeps_the_figures(tmp_path):
    result = bench(["eager", "naive", "bare", "lightning"], TINY, batch=16, rounds=2, steps=3, memory=False)
    by_name = {arm["arm"]: arm for arm in result["arms"]}
    assert set(by_name) == {"eager", "naive", "bare", "lightning"}
    for arm in by_name.values():
        assert arm["ms_low"] <= arm["ms"] <= arm["ms_high"]
        assert arm["images_per_second"] == pytest.approx(16_000 / arm["ms"], rel=1e-3)
        assert arm["epoch_seconds"] == pytest.approx(60_000 / arm["images_per_second"], rel=1e-3)
    assert result["speed_over"]["eager"]["eager"] == 1
    assert result["speed_over"]["naive"]["eager"] == pytest.approx(
        by_name["naive"]["ms"] / by_name["eager"]["ms"], rel=0.01
    )
    assert "naive" in table(result)
    kept = keep(result, tmp_path)
    assert kept.name.startswith("bench-")
    assert json.loads(kept.read_text())["batch"] == 16


RESULT = {"batch": 16, "provenance": {"cpu": "Fake", "cores": 2, "gpu": None, "packages": {"torch": "2.13.0+cpu"}}}


def test_a_comparison_with_a_name_lies_beside_the_others(tmp_path):
    plain, named = keep(RESULT, tmp_path), keep(RESULT, tmp_path, "routing")
    assert named.name == f"{plain.stem}-routing.json"
    assert [json.loads(path.read_text())["name"] for path in (plain, named)] == [None, "routing"]


def test_a_name_that_is_a_path_is_refused(tmp_path):
    with pytest.raises(CapsbenchError, match=r"--name '\.\./other': a name has letters, digits, - and _ only"):
        keep(RESULT, tmp_path, "../other")


def test_no_arm_runs_eagerly_because_the_others_are_compiled(monkeypatch):
    limits = []
    monkeypatch.setattr(module, "build_arm", lambda *_: limits.append(torch._dynamo.config.recompile_limit))
    monkeypatch.setattr(module, "measure", lambda *_, **__: [])
    monkeypatch.setattr(module, "ratios", lambda *_: {})
    before = torch._dynamo.config.recompile_limit
    names = expand(["routing"])
    bench(names, TINY, batch=4, rounds=1, steps=1, memory=False)
    assert len(limits) == len(names) > before
    # A step and a forward pass each, and each once more should a guard fail.
    assert min(limits) > 4 * len(names)
    assert torch._dynamo.config.recompile_limit == before
