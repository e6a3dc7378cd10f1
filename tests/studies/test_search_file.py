"""Search files are read whole or refused with what would be valid."""

import pytest

from capsbench.compose import compose, shipped
from capsbench.errors import CapsbenchError
from capsbench.studies.search_file import Search, load_design
from capsbench.studies.space import is_sweep, override, parse_space
from capsbench.studies.wandb_export import wandb_sweep
from capsbench.sweep_yaml import available_sweeps

GOOD = """
kind: search
base: [model=cnn_small]
params:
  optimizer.lr: tag(log, interval(1e-4, 1e-2))
  model.dropout: interval(0.0, 0.5)
trials: 5
presets:
  small: {trials: 2, base: [trainer.epochs=1]}
"""


def load(tmp_path, text, preset=None):
    (tmp_path / "one.yaml").write_text(text)
    return load_design("one", tmp_path, preset)


def test_defaults_select_by_validation_loss(tmp_path):
    search = load(tmp_path, GOOD)
    assert search.objectives == {"val/loss": "minimize"}
    assert (search.trials, search.seeds, search.group) == (5, (0,), "one")
    small = load(tmp_path, GOOD, "small")
    assert (small.trials, small.base, small.group) == (2, ("model=cnn_small", "trainer.epochs=1"), "one-small")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("trials: 5", "objectives: {test/errors: minimize}", ["test/errors", "test images", "val/loss"]),
        ("trials: 5", "constraints: {affine/errors: 10}", ["constraints.affine/errors", "test images"]),
        ("trials: 5", "objectives: {val/loss: minimal}", ["minimal", "minimize"]),
        ("trials: 5", "sampler: tpee", ["tpee", "did you mean tpe"]),
        ("trials: 5", "pruner: wilcoxon", ["at least three"]),
        ("trials: 5", "{pruner: median, objectives: {cost/macs: minimize}}"[1:-1].replace(", obj", "\nobj"),
         ["cost/macs", "at the end only"]),
        ("trials: 5", "trials: 0", ["trials is 0"]),
        ("trials: 5", "trial: 5", ["unknown key trial", "did you mean trials"]),
        ("trials: 5", "enqueue: [{optimizer.rate: 1}]", ["optimizer.rate", "optimizer.lr"]),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, old, new, words):
    with pytest.raises(CapsbenchError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"optimizer.lr": "0.1"}, "single value"),
        ({"optimizer.lr": "interval(1"}, "cannot be read"),
        ({"optimizer.lr": "range(3, 3)"}, "empty"),
        ({"a": {"space": "choice(1, 2)", "when": {"b": 1}}}, "b is not a parameter above it"),
    ],
)
def test_spaces_that_cannot_be_are_refused(params, words):
    with pytest.raises(CapsbenchError, match=words):
        parse_space(params)


@pytest.mark.parametrize("value", [None, True, 0.1, 1e-7, 3, "max", "[1,2]"])
def test_drawn_values_come_back_as_they_are(value):
    from omegaconf import OmegaConf

    cfg = OmegaConf.from_dotlist([override("key", value)])
    assert str(cfg.key) == str(value).replace(",", ", ")
    assert not is_sweep(override("key", value))


@pytest.mark.parametrize("name", available_sweeps(shipped("sweeps")))
def test_shipped_sweeps_compose_with_every_preset(name):
    import yaml

    presets = yaml.safe_load((shipped("sweeps") / f"{name}.yaml").read_text()).get("presets") or {}
    for preset in [None, *presets]:
        design = load_design(name, shipped("sweeps"), preset)
        if isinstance(design, Search):
            space = parse_space(design.params)
            compose([*design.base, *(override(key, _some(d)) for key, d in space.distributions.items())])
            for point in design.enqueue:
                compose([*design.base, *(override(key, value) for key, value in point.items())])


def _some(distribution):
    return distribution.choices[-1] if hasattr(distribution, "choices") else distribution.high


def test_a_search_becomes_a_wandb_sweep(tmp_path):
    import yaml

    values = yaml.safe_load(wandb_sweep(load(tmp_path, GOOD)))
    assert values["parameters"]["optimizer.lr"] == {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}
    assert values["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert values["command"][:3] == ["capsbench", "train", "model=cnn_small"]
    compose(values["command"][2:-1])
    with pytest.raises(CapsbenchError, match="is an ablation"):
        wandb_sweep(load_design("quick", shipped("sweeps")))
