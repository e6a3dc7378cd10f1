"""Whether the run on disk is the run that is asked for."""

import json

import pytest

from capsbench.compose import compose
from capsbench.training.identity import evaluation_digest, is_done, plain
from capsbench.training.runs import run_folder


def write(cfg, **changes):
    folder = run_folder(cfg)
    folder.path.mkdir(parents=True)
    result = {"schema": 1, "state": "done", "evaluation": evaluation_digest(cfg), **changes}
    (folder.path / "result.json").write_text(json.dumps(result))
    return folder


def test_a_run_is_done_when_it_was_evaluated_as_asked(root):
    cfg = compose([f"run.root={root}"])
    assert not is_done(run_folder(cfg), cfg)
    folder = write(cfg)
    assert is_done(folder, cfg)
    other = compose([f"run.root={root}", "evaluation.affine.curve_images=7"])
    assert run_folder(other).path == folder.path
    assert not is_done(folder, other)


def test_a_result_without_an_evaluation_is_not_done(root):
    cfg = compose([f"run.root={root}"])
    folder = write(cfg, evaluation="00000000")
    assert not is_done(folder, cfg)


@pytest.mark.parametrize("override", ["seed=4", "trainer.epochs=11", "logger=csv", "run.notes=hello"])
def test_the_digest_sees_the_evaluation_alone(override):
    assert evaluation_digest(compose([override])) == evaluation_digest(compose([]))


def test_plain_is_what_yaml_and_json_can_hold():
    values = plain(compose(["model=capsnet", "seed=4"]))
    assert json.loads(json.dumps(values)) == values
    assert values["seed"] == 4
    assert values["model"]["squash"] == "hinton"
    assert values["model"]["decoder_hidden"] == [512, 1024]
    assert values["run"]["arm"] == "capsnet"


@pytest.mark.parametrize(
    "overrides", [[], ["experiment=sabour2017/capsnet_r3_recon"], ["evaluation=full", "model=deepcaps"]]
)
def test_plain_values_are_what_omegaconf_makes_of_them(overrides):
    from omegaconf import OmegaConf

    cfg = compose(overrides)
    assert plain(cfg) == OmegaConf.to_container(OmegaConf.structured(cfg), resolve=True, enum_to_str=True)
