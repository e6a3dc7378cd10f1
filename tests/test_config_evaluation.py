from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from capsbench.compose import compose, compose_many
from capsbench.config import Config, run_hash
from capsbench.config_evaluation import Evaluation
from capsbench.errors import CapsbenchError
from capsbench.sweep_file import load_sweep
from capsbench.training.identity import evaluation_digest

SWEEPS = Path(__file__).parents[1] / "sweeps"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.pose.folds=1", r"evaluation\.pose\.folds=1 must be at least 2"),
        ("evaluation.parts.accepted=1.2", r"evaluation\.parts\.accepted=1\.2"),
        ("evaluation.parts.grids=[1,4]", r"evaluation\.parts\.grids=\[1, 4\] must be numbers from 2"),
        ("evaluation.corruption.severities=[]", r"evaluation\.corruption\.severities=\[\]"),
        ("evaluation.corruption.severities=[6]", r"evaluation\.corruption\.severities=\[6\] .* from 1 to 5"),
        ("evaluation.adversarial.epsilons=[0.0]", r"evaluation\.adversarial\.epsilons=\[0\.0\]"),
        ("evaluation.adversarial.restarts=0", r"evaluation\.adversarial\.restarts=0 must be at least 1"),
        ("evaluation.overlap.shift=-1", r"evaluation\.overlap\.shift=-1 must be at least 0"),
    ],
)
def test_impossible_evaluations_are_refused_before_training(override, message):
    with pytest.raises(CapsbenchError, match=message):
        compose([override])


def test_no_evaluation_changes_which_run_it_is_but_all_change_what_is_measured():
    plain, full = compose_many([[], ["evaluation=full"]])
    assert run_hash(plain) == run_hash(full)
    assert evaluation_digest(plain) != evaluation_digest(full)


def test_full_asks_everything():
    asked = compose(["evaluation=full"]).evaluation
    switches = [item.name for item in fields(Evaluation) if is_dataclass(getattr(asked, item.name))]
    assert {"affine", "pose", "parts", "corruption", "adversarial", "overlap"} <= set(switches)
    # Padded runs follow their out-of-distribution accuracy by themselves.
    assert asked.matched.enabled is None
    assert all(getattr(asked, name).enabled for name in switches if name != "matched")


@pytest.mark.parametrize("name", ["affine", "parts", "data_efficiency", "complexity", "attack", "overlap"])
@pytest.mark.parametrize("preset", [None, "small"])
def test_sweeps_compose_to_different_arms(name, preset):
    sweep = load_sweep(name, SWEEPS, preset)
    configs = compose_many([sweep.overrides(arm) for arm in sweep.arms])
    assert all(isinstance(cfg, Config) for cfg in configs)
    assert len({run_hash(cfg) for cfg in configs}) == len(sweep.arms)
    assert sweep.comparisons
    if name == "data_efficiency":
        assert len({cfg.trainer.steps for cfg in configs}) == 1
