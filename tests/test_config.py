"""The schema: a run's identity, the choices that `auto` leaves open, and that every key is documented."""

from dataclasses import fields, is_dataclass, replace

import pytest

from capsbench.compose import MODELS, compose, documented_keys
from capsbench.config import ClassLoss, Config, class_loss, digest, identity_values, is_capsule_model, run_hash
from capsbench.config_models import CapsNet, Cnn


@pytest.fixture
def cfg() -> Config:
    return Config(model=CapsNet())


@pytest.fixture(scope="module")
def default() -> str:
    return run_hash(compose([]))


@pytest.mark.parametrize(
    "override",
    [
        "seed=7",
        "run.root=/elsewhere",
        "run.group=other",
        "run.arm=other",
        "run.notes=hello",
        "logger=csv",
        "logger.project=mine",
        "evaluation=minimal",
        "evaluation.affine.seed=3",
        "trainer.progress=false",
        "trainer.threads=1",
        "trainer.log_every=7",
        "trainer.checkpoint_minutes=1",
        "trainer.eval_batch_size=10",
        "model.name=mine",
    ],
)
def test_what_cannot_change_the_training_is_not_part_of_the_identity(override, default):
    assert run_hash(compose([override])) == default


@pytest.mark.parametrize(
    "override",
    [
        "data.shift=1",
        "data.train_images=100",
        "data.split_seed=1",
        "model=cnn_small",
        "model.bias=false",
        "model.routing.iterations=2",
        "model.routing.gradient=detach",
        "model.decoder_hidden=[512]",
        "loss=paper",
        "loss.reconstruction_weight=0.1",
        "optimizer.lr=0.01",
        "optimizer.decay_steps=1000",
        "trainer.epochs=11",
        "trainer.batch_size=64",
        "trainer.precision=32-true",
    ],
)
def test_what_can_change_the_training_is(override, default):
    assert run_hash(compose([override])) != default


def test_a_value_said_out_loud_is_the_same_as_the_default(default):
    spoken = ["model=capsnet", "trainer.epochs=10", "optimizer.lr=2e-3", "data.shift=2", "loss=official"]
    assert run_hash(compose(spoken)) == default


def test_defaults_are_left_out_so_that_new_keys_do_not_rename_old_runs(cfg):
    """The digest of a default run is fixed for ever: the folders of finished runs carry it."""
    assert identity_values(cfg) == {"model": {"family": "CapsNet"}}
    assert run_hash(cfg) == digest({"model": {"family": "CapsNet"}}) == "c112c94c"


def test_nested_values_and_families_are_seen(cfg):
    changed = replace(cfg, model=replace(cfg.model, routing=replace(cfg.model.routing, iterations=1)))
    assert identity_values(changed) == {"model": {"family": "CapsNet", "routing": {"iterations": 1}}}
    assert identity_values(replace(cfg, model=Cnn())) == {"model": {"family": "Cnn"}}
    assert run_hash(changed) != run_hash(cfg) != run_hash(replace(cfg, model=Cnn()))


# Pairs of configurations that train the very same network the very same way.
SAME_RUN = [
    ("model=capsnet_small model.reconstruction=false", "model.decoder_hidden=[7]"),
    ("model=capsnet_small model.decoder=deconvolution", "model.decoder_hidden=[7]"),
    ("model=capsnet_small model.routing.algorithm=em", "model.bias=false"),
    ("model=capsnet_small model.routing.algorithm=homogeneous", "model.class_dim=16"),
    ("model=capsnet_small model.routing.algorithm=shared", "model.transforms=single"),
    ("model=capsnet_small model.routing.algorithm=self_routing model.reconstruction=false", "model.transforms=single"),
    ("model=capsnet_small model.routing.iterations=1", "model.routing.gradient=detach"),
    ("model=inverted_attention_net model.iterations=1", "model.concurrent=false"),
    ("model=cnn_small model.pooling=none", "model.windows=[1,1]"),
    ("model=cnn_small", "loss=paper"),
    ("model=cnn_small", "loss.reconstruction_weight=1"),
    ("model=cnn_small", "loss.margin_positive=0.8"),
    ("model=capsnet_small", "loss.spread_end=0.8"),
    ("optimizer=adam_constant", "optimizer.decay_steps=7"),
    ("optimizer.schedule=cosine", "optimizer.decay=0.5"),
]


@pytest.mark.parametrize(("base", "ignored"), SAME_RUN)
def test_a_key_without_effect_is_not_part_of_the_identity(base, ignored):
    plain, changed = compose(base.split()), compose([*base.split(), ignored])
    assert plain != changed
    assert run_hash(changed) == run_hash(plain)


@pytest.mark.parametrize("base", ["model=capsnet_small", "model=cnn_small", "model=inverted_attention_net"])
def test_the_same_keys_count_where_they_have_an_effect(base):
    for other, ignored in SAME_RUN:
        if other.split()[0] != base or len(other.split()) == 1:
            continue
        assert run_hash(compose([base, ignored])) != run_hash(compose([base])), ignored


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_automatic_loss_follows_the_family(cfg):
    assert class_loss(cfg) is ClassLoss.margin
    assert class_loss(Config(model=Cnn())) is ClassLoss.cross_entropy
    asked = compose(["model=capsnet", "loss=cross_entropy"])
    assert class_loss(asked) is ClassLoss.cross_entropy
    assert is_capsule_model(CapsNet())
    assert not is_capsule_model(Cnn())


def leaves(node: type, prefix: str = ""):
    """Every dotted key of a schema that is no group of keys."""
    instance = node(model=None) if node is Config else node()
    for item in fields(node):
        value = getattr(instance, item.name)
        if is_dataclass(value):
            yield from leaves(type(value), f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item


def test_every_key_is_documented():
    documented = {name: doc for name, _, doc in documented_keys()}
    expected = {name for name, _ in leaves(Config) if name != "model"}
    expected |= {f"model.{name}" for family in MODELS.values() for name, _ in leaves(family)}
    assert set(documented) == expected
    assert all(len(doc) > 5 for doc in documented.values())
    for node in (Config, *MODELS.values()):
        for name, item in leaves(node):
            if name != "model":
                assert isinstance(item.metadata["identity"], bool), name
