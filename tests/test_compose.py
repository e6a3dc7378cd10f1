"""From overrides to a typed configuration, and every mistake in a person's words."""

import re

import pytest

from capsbench.compose import compose, compose_many, shipped, suggest
from capsbench.config import Config
from capsbench.config_models import CapsNet, Cnn, Initialization, MarginForm, Pooling, PrimaryScale
from capsbench.errors import CapsbenchError

GROUPS = ["data", "model", "loss", "optimizer", "trainer", "evaluation", "logger", "debug"]
OPTIONS = [
    f"{path.parent.name}={path.stem}" for group in GROUPS for path in sorted((shipped("conf") / group).glob("*.yaml"))
]
EXPERIMENTS = sorted(
    path.relative_to(shipped("conf") / "experiment").with_suffix("").as_posix()
    for path in (shipped("conf") / "experiment").rglob("*.yaml")
)


def message(*overrides: str) -> str:
    with pytest.raises(CapsbenchError) as caught:
        compose(overrides)
    return str(caught.value)


def test_the_default_run():
    cfg = compose([])
    assert isinstance(cfg, Config)
    assert isinstance(cfg.model, CapsNet)
    assert cfg.run.arm == cfg.model.name == "capsnet"
    assert cfg.run.group == "train"
    assert (cfg.trainer.batch_size, cfg.data.shift, cfg.data.validation_images) == (128, 2, 5000)


def test_released_and_paper_presets_differ_as_code_and_paper_do():
    released, paper = (compose([f"model={name}"]).model for name in ("capsnet", "capsnet_paper"))
    assert released.primary_scale is PrimaryScale.inverse_types
    assert released.initialization is Initialization.official
    assert released.bias is True
    assert paper.primary_scale is PrimaryScale.one
    assert paper.initialization is Initialization.torch
    assert paper.bias is False
    assert compose(["loss=official"]).loss.margin_form is MarginForm.official
    assert compose(["loss=paper"]).loss.margin_form is MarginForm.paper
    assert compose(["optimizer=adam_official"]).optimizer.decay_steps == 2000
    assert compose(["trainer=released"]).trainer.steps == 300_000


@pytest.mark.parametrize("option", OPTIONS)
def test_every_shipped_option_composes(option):
    cfg = compose([option])
    assert isinstance(cfg, Config)
    group, name = option.split("=")
    if group == "model":
        assert cfg.model.name == cfg.run.arm == name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name):
    assert isinstance(compose([f"experiment={name}"]), Config)


def test_values_become_their_types():
    cfg = compose(
        ["model=cnn_small", "model.pooling=average", "model.channels=[8,16]", "optimizer.lr=1", "data.root=null"]
    )
    assert isinstance(cfg.model, Cnn)
    assert cfg.model.pooling is Pooling.average
    assert cfg.model.channels == [8, 16]
    assert isinstance(cfg.optimizer.lr, float)
    assert cfg.data.root is None


def test_many_arms_are_composed_alike():
    arms = [["model=cnn_small"], ["seed=3"], []]
    assert compose_many(arms) == [compose(arm) for arm in arms]


def test_one_composition_does_not_leak_into_the_next():
    compose(["model.routing.iterations=1", "trainer.epochs=3"])
    assert compose([]) == compose([])
    assert compose([]).model.routing.iterations == 3


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("trainer.epoch=3", "trainer.epochs"),
        ("optimizer.learning_rate=3", "optimizer"),
        ("model.routing.iteration=1", "model.routing.iterations"),
        ("iterations=1", "model.routing.iterations"),
        ("batch_size=64", "trainer.batch_size"),
        ("data.shfit=1", "data.shift"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(override, nearest):
    text = message(override)
    assert override.split("=")[0] in text
    assert nearest in text


def test_a_key_of_another_model_says_so():
    text = message("model=cnn_small", "model.routing.iterations=1")
    assert "model.routing" in text
    assert "`capsbench keys" in text or "belongs to another option" in text


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("trainer.epochs=many", ["trainer.epochs", "many"]),
        ("trainer.epochs=2.5", ["trainer.epochs", "2.5"]),
        ("model.squash=relu", ["relu", "hinton", "exponential"]),
        ("model.bias=perhaps", ["model.bias", "perhaps"]),
        ("loss.margin_form=keras", ["keras", "paper", "official"]),
        ("data.name=mnits", ["mnits", "mnist"]),
        ("seed=null", ["seed"]),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_valid(override, parts):
    text = message(override)
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        (
            "model=capsnet_smal",
            ["model=capsnet_smal is not known", "did you mean model=capsnet_small?", "cnn_baseline"],
        ),
        ("loss=hinge", ["loss=hinge is not known", "Valid:", "official", "paper"]),
        ("debug=slow", ["debug=slow", "fast", "overfit"]),
    ],
)
def test_an_unknown_option_lists_the_valid_ones(override, parts):
    text = message(override)
    assert all(part in text for part in parts), text


def test_a_word_that_is_no_override():
    assert "need quotes" in message("run.notes=a=b,c")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.epochs=0"], "trainer.epochs=0 must be at least 1"),
        (["trainer.batch_size=-1"], "trainer.batch_size=-1 must be at least 1"),
        (["model.routing.iterations=0"], "model.routing.iterations=0 must be at least 1"),
        (["seed=-1"], "seed=-1 must be at least 0"),
        (["data.shift=-2"], "data.shift=-2 must be at least 0"),
        (["optimizer.lr=0"], "optimizer.lr=0.0 must be more than 0"),
        (["optimizer.lr=nan"], "optimizer.lr=nan must be more than 0"),
        (["optimizer.beta1=1"], "optimizer.beta1=1.0 must be at least 0 and less than 1"),
        (["model=cnn_small", "model.dropout=1"], "model.dropout=1.0 must be at least 0 and less than 1"),
        (["trainer.compile=perhaps"], "trainer.compile=perhaps must be auto, true or false"),
        (["model=cnn_small", "model.channels=[8,0]"], "model.channels=[8, 0] must be positive numbers"),
        (["model.decoder_hidden=[-1]"], "model.decoder_hidden=[-1] must be positive numbers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_values_are_refused_before_anything_starts(overrides, expected):
    assert message(*overrides) == expected


def test_margin_loss_needs_capsule_lengths():
    text = message("model=cnn_small", "loss.classification=margin")
    assert "needs scores that are capsule lengths" in text
    assert "cnn_small" in text


def test_no_message_is_a_traceback_or_hydras_own_jargon():
    for override in ("trainer.epoch=3", "trainer.epochs=many", "model=x", "loss.margin_form=keras", "a=[1"):
        text = message(override)
        assert not re.search(r"Traceback|object_type|full_key|reference_type|struct", text), text


def test_suggestions():
    valid = ["trainer.epochs", "trainer.steps", "model.routing.iterations"]
    assert suggest("trainer.epoch", valid).startswith("did you mean trainer.epochs")
    assert suggest("model.iterations", valid) == "did you mean model.routing.iterations?"
    assert suggest("zzz", valid) == "`capsbench keys` lists all keys"
