"""Whatever a user sets a key to, the run starts or is refused with a message that names the key; never a traceback."""

import enum
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsbench import app
from capsbench.compose import compose, documented_keys
from capsbench.config import Config
from capsbench.data import splits
from capsbench.data.dataset import Dataset
from capsbench.errors import CapsbenchError
from capsbench.limits import check_limits
from capsbench.training import train
from capsbench.training.memory import lack_of_memory_explained
from capsbench.training.runs import run_folder
from tiny import CAPSNET, CNN, RUN, tiny_images

SMALL = {
    "capsnet": CAPSNET,
    "cnn": CNN,
    "matrix_capsnet": ("model=matrix_capsnet_small", "model.stem_channels=4", "model.types=[2,2,2]"),
    "efficient_capsnet": ("model=efficient_capsnet", "model.decoder_hidden=[8]"),
    "self_routing_resnet": ("model=self_routing_resnet", "model.planes=4", "model.blocks=1", "model.types=2"),
    "inverted_attention_net": ("model=inverted_attention_net", "model.backbone=[4,8]", "model.types=[2,2,2]"),
    "hvc_net": ("model=hvc_net", "model.filters=4", "model.growth=2"),
    "deepcaps": ("model=deepcaps", "model.stem_channels=4", "model.types=2", "model.dims=[4,4,4,4]"),
}
# What starts threads, processes or reads this machine's files is given apart, by hand.
APART = ("run.root", "trainer.devices", "trainer.threads", "data.root", "data.name", "trainer.epochs", "trainer.steps")
KEYS = [(name, default) for name, default, _ in documented_keys() if name not in APART]
NUMBERS = ["-1", "0", "1", "2", "3", "5", "8", "17", "33", "2147483648", "9223372036854775808", "1e30", "abc", "null"]
FRACTIONS = ["-1", "0", "0.5", "1", "2", "nan", "inf", "-inf", "1e-320", "1e30", "1e-30", "abc", "null", "true"]
LISTS = ["[]", "[0]", "[-1]", "[1]", "[1,1]", "[3,3]", "[1,1,1]", "[5,5,5]", "[1.5]", "[null]", "[a]", "[nan]", "5"]
TEXTS = ["''", "'a/b'", "..", ".", "null", "'x y'", "5", "é", "auto", "x" * 300, "'a\nb'", "${seed}", "[1]"]


def hostile(default: object) -> list[str]:
    """Values of a key's own kind at the edges of what can be, and of other kinds."""
    match default:
        case bool():
            return ["true", "false", "1", "maybe", "null"]
        case enum.Enum():
            return [*(item.value for item in type(default)), "wrong", "null"]
        case int():
            return NUMBERS
        case float():
            return FRACTIONS
        case list():
            return LISTS
        case str():
            return TEXTS
        case _:
            return [*NUMBERS, *FRACTIONS, *LISTS, *TEXTS]


OVERRIDES = st.sampled_from(KEYS).flatmap(lambda key: st.sampled_from(hostile(key[1])).map(lambda text: (key[0], text)))
FAMILIES = st.sampled_from(sorted(SMALL))


@pytest.fixture(autouse=True)
def few_images(monkeypatch) -> Iterator[None]:
    """Ninety images, which are split for real as the configuration says."""
    images, labels = tiny_images(90)
    few = Dataset("mnist", images[:60], labels[:60], images[60:], labels[60:], tuple("0123456789"))
    monkeypatch.setattr(splits, "load_dataset", lambda _: few)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def composed(root: Any, family: str, *overrides: str) -> Config:
    few = ("data.validation_images=16", "trainer.steps=1", f"run.root={root}")
    return compose([*RUN, *SMALL[family], *few, *overrides])


def start(cfg: Config) -> None:
    """All that a run does before its second step, on a batch of two."""
    run_folder(cfg)
    with lack_of_memory_explained():
        _, _, task, batches = train._prepared(cfg)
        task.configure_optimizers()
        losses, _ = task.step_losses(*(part[:2] for part in next(iter(batches))))
        losses["loss"].backward()


def outcome(root: Any, family: str, chosen: list[tuple[str, str]], carry_out: Any) -> str:
    """Why it is refused; empty where it can start."""
    words = [f"{name}={text}" for name, text in chosen]
    try:
        carry_out(composed(root, family, *words))
    except CapsbenchError as error:
        return str(error)
    return ""


def assert_named(message: str, chosen: list[tuple[str, str]]) -> None:
    names = [name for name, _ in chosen] + [name.rsplit(".", 1)[-1] for name, _ in chosen]
    assert any(name in message for name in names), f"{chosen}: {message}"
    assert "Traceback" not in message


@given(family=FAMILIES, chosen=st.lists(OVERRIDES, min_size=1, max_size=2))
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_overrides_start_or_are_refused_by_name(tmp_path, family, chosen):
    message = outcome(tmp_path, family, chosen, start)
    if message:
        assert_named(message, chosen)


@pytest.mark.slow
@given(family=FAMILIES, chosen=st.lists(OVERRIDES, min_size=1, max_size=3))
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_many_overrides_start_or_are_refused_by_name(tmp_path, family, chosen):
    message = outcome(tmp_path, family, chosen, start)
    if message:
        assert_named(message, chosen)


@pytest.mark.slow
@given(
    family=st.sampled_from(["capsnet", "cnn"]),
    chosen=st.lists(
        OVERRIDES.filter(lambda pair: pair[0].startswith(("evaluation.", "logger."))), min_size=1, max_size=2
    ),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_evaluation_is_carried_out_or_refused_by_name(tmp_path_factory, family, chosen):
    """Evaluations come after training: here the run is carried out to its result."""
    root = tmp_path_factory.mktemp("runs")
    message = outcome(root, family, [("logger.wandb", "disabled"), *chosen], app.execute)
    if message:
        assert_named(message, chosen)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=4294967296", "seed=4294967296 must be at most 4,294,967,295"),
        ("data.split_seed=4294967296", "data.split_seed=4294967296 must be at most"),
        ("data.pad=2147483648", "data.pad=2147483648 must be at most 1,000"),
        ("data.shift=1001", "data.shift=1001 must be at most 1,000"),
        ("model.stem_channels=9223372036854775808", "must be at most 2,147,483,647"),
        ("model.decoder_hidden=[8,99999999999]", "must be at most 2,147,483,647"),
        ("model=matrix_capsnet model.types=[8,8]", "model.types=[8, 8] must have 3 numbers"),
        ("model=matrix_capsnet model.pose_side=1", "model.pose_side=1 must be at least 2"),
        ("model=efficient_capsnet model.primary_types=7", "model.primary_types=7 must divide the 128 primary channels"),
        ("model=efficient_capsnet model.decoder_hidden=[-1]", "model.decoder_hidden=[-1] must be at least 1"),
        ("model=hvc_net model.branches=[]", "model.branches=[] must name at least one convolution"),
        ("model=deepcaps model.dims=[4]", "model.dims=[4] must have 4 numbers"),
        ("model=self_routing_resnet model.planes=0", "model.planes=0 must be at least 1"),
        ("optimizer.lr=inf", "optimizer.lr=inf must be a finite number"),
        ("loss.margin_positive=nan", "loss.margin_positive=nan must be a finite number"),
        ("optimizer.decay=1.5", "optimizer.decay=1.5 must be at most 1"),
        (f"run.arm={'x' * 201}", "run.arm='xxxx"),
        (f"run.group='{'é' * 101}'", "run.group='éééé"),
        ("run.notes=é", "cannot be read: run.notes=é"),
    ],
)
def test_numbers_and_names_without_bounds_are_refused(override, expected):
    with pytest.raises(CapsbenchError) as caught:
        compose(override.split())
    assert expected in str(caught.value)


def test_the_largest_allowed_values_compose():
    cfg = compose(["seed=4294967295", f"run.arm={'x' * 200}", "data.pad=1000", "optimizer.decay=1"])
    check_limits(cfg)
    assert cfg.seed == 2**32 - 1


def test_a_run_too_large_for_the_machine_is_a_message(tmp_path):
    """Nobody has 10 TB for an image: the allocation really fails."""
    cfg = composed(tmp_path, "cnn", "data.pad=1000", "model.channels=[40000,40000]")
    with pytest.raises(CapsbenchError, match=r"more memory than there is here: lower trainer\.batch_size"):
        app.execute(cfg)


def test_other_faults_are_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="bug"), lack_of_memory_explained():
        raise RuntimeError("bug")
    with pytest.raises(CapsbenchError, match="more memory"), lack_of_memory_explained():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(CapsbenchError, match="more memory"), lack_of_memory_explained():
        raise MemoryError


def test_a_window_too_small_for_the_network_names_both(tmp_path):
    with pytest.raises(CapsbenchError, match=r"model\.stem_kernel.*data\.crop=3"):
        start(composed(tmp_path, "capsnet", "data.crop=3"))
