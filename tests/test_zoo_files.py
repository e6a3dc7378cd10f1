"""Every experiment composes, says where its row comes from, and builds; the zoo's sweeps are complete and distinct."""

from dataclasses import replace
from pathlib import Path

import pytest

from capsbench.compose import compose, compose_many, shipped
from capsbench.config import class_loss, run_hash
from capsbench.config_models import CapsNet, RoutingAlgorithm
from capsbench.evaluation.cost import parameters
from capsbench.models.build import build_model
from capsbench.sweep_file import load_sweep

EXPERIMENTS = sorted(shipped("conf").glob("experiment/*/*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_experiment_opens_with_its_source_and_composes_under_its_own_name(path: Path):
    name = f"{path.parent.name}/{path.stem}"
    text = path.read_text()
    for opening in ("# Source: ", "# Expected: ", "# Time and hardware: ", "# Command: "):
        assert opening in text
    assert f"capsbench train experiment={name} " in text
    expected = text.split("# Expected: ")[1].splitlines()[0]
    assert any(word in expected for word in ("published", "recalled", "second hand"))
    cfg = compose([f"experiment={name}"])
    assert (cfg.run.group, cfg.run.arm) == (path.parent.name, path.stem)


@pytest.mark.parametrize("preset", [None, "small"])
@pytest.mark.parametrize("name", ["routing", "controls"])
def test_arms_are_different_runs(name, preset):
    sweep = load_sweep(name, shipped("sweeps"), preset)
    configs = compose_many([sweep.overrides(arm) for arm in sweep.arms])
    assert len({run_hash(cfg) for cfg in configs}) == len(sweep.arms)
    assert len(sweep.seeds) == 5


def parameters_without_decoder(cfg) -> int:
    channels, side = (3, 24) if cfg.data.name == "cifar10" else (1, 28)
    if cfg.data.name == "smallnorb":
        channels, side = 2, 32
    model = replace(cfg.model, reconstruction=False) if isinstance(cfg.model, CapsNet) else cfg.model
    classes = 5 if cfg.data.name == "smallnorb" else 10
    return parameters(build_model(model, channels, side + 2 * cfg.data.pad, classes))


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("pooling", [("cnn_max", other) for other in ("cnn_average", "cnn_strided", "cnn_none", "stem_capsules")]),
        ("pooling", [("stem_hidden", "stem_capsules")]),
        ("affine", [("cnn_max_pool", "capsnet_r3")]),
        ("parts", [("cnn_max_pool", "capsnet_r3_recon"), ("cnn_no_pool", "capsnet_r3_recon")]),
        ("overlap", [("cnn_max_pool", "capsnet_r3")]),
        ("overlap_unseen", [("cnn_max_pool", "capsnet_r3")]),
        ("viewpoint", [("cnn_max_pool", "capsnet_r3"), ("cnn_strided", "capsnet_r3")]),
        ("attack", [("cnn_max_pool", "capsnet_r3_recon")]),
        ("data_efficiency", [("cnn_100", "capsnet_100"), ("cnn_all", "capsnet_all")]),
        ("complexity", [(f"{data}_cnn", f"{data}_capsnet") for data in ("mnist", "fashion", "cifar10")]),
        ("controls", [("cnn_parameters", "capsnet"), ("cnn_same_stem_hidden", "capsnet")]),
    ],
)
def test_arms_that_are_compared_as_equally_large_are(name, pairs):
    sweep = load_sweep(name, shipped("sweeps"), "small")
    configs = dict(zip(sweep.arms, compose_many([sweep.overrides(arm) for arm in sweep.arms]), strict=True))
    for one, other in pairs:
        sizes = parameters_without_decoder(configs[one]), parameters_without_decoder(configs[other])
        assert sizes[0] == pytest.approx(sizes[1], rel=0.03)


@pytest.mark.parametrize("preset", [None, "cpu", "small"])
def test_every_arm_of_fidelity_differs_from_the_released_code_and_from_the_others(preset):
    sweep = load_sweep("fidelity", shipped("sweeps"), preset)
    configs = compose_many([sweep.overrides(arm) for arm in sweep.arms])
    assert len({run_hash(cfg) for cfg in configs}) == len(sweep.arms)
    assert sweep.comparisons == tuple(("official", arm) for arm in sweep.arms if arm != "official")


@pytest.mark.parametrize("preset", ["cpu", "cpu_long"])
def test_table1_on_a_cpu_is_the_full_size_network(preset):
    sweep = load_sweep("table1", shipped("sweeps"), preset)
    capsnets = [arm for arm in sweep.arms if arm.startswith("capsnet")]
    for cfg in compose_many([sweep.overrides(arm) for arm in capsnets]):
        assert (cfg.model.stem_channels, cfg.model.primary_types, cfg.model.class_dim) == (256, 32, 16)
        assert (cfg.trainer.steps, cfg.optimizer.cooldown) == (None, 0.5)
    assert all(sweep.arms[arm].published for arm in capsnets)


def test_the_routing_sweep_has_every_algorithm_once_with_a_loss_it_learns_from():
    sweep = load_sweep("routing", shipped("sweeps"))
    configs = compose_many([sweep.overrides(arm) for arm in sweep.arms])
    assert sorted(cfg.model.routing.algorithm for cfg in configs) == sorted(RoutingAlgorithm)
    losses = {str(cfg.model.routing.algorithm): str(class_loss(cfg)) for cfg in configs}
    assert losses["em"] == "spread"
    assert losses["self_routing"] == "nll"
    assert losses["inverted_attention"] == losses["homogeneous"] == "cross_entropy"
    assert losses["dynamic"] == losses["attention"] == "margin"
