"""From overrides on a command line to a typed configuration, and from Hydra's errors to a sentence for a person."""

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from capsbench.checks import check
from capsbench.config import Config
from capsbench.config_models import (
    CapsNet,
    Cnn,
    DeepCaps,
    EfficientCapsNet,
    HvcNet,
    InvertedAttentionNet,
    MatrixCapsNet,
    SelfRoutingResNet,
)
from capsbench.errors import CapsbenchError
from capsbench.limits import check_limits

MODELS = {
    "capsnet": CapsNet,
    "cnn": Cnn,
    "matrix_capsnet": MatrixCapsNet,
    "efficient_capsnet": EfficientCapsNet,
    "self_routing_resnet": SelfRoutingResNet,
    "inverted_attention_net": InvertedAttentionNet,
    "hvc_net": HvcNet,
    "deepcaps": DeepCaps,
}
HERE = Path(__file__).parent


def shipped(folder: str) -> Path:
    """`conf` or `sweeps`, packed into an installed package or at the top of a checkout."""
    packed = HERE / folder
    return packed if packed.is_dir() else HERE.parents[1] / folder


def register_schema() -> None:
    """Tell Hydra the types of all keys."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for name, node in MODELS.items():
        store.store(group="schema/model", name=name, node=node)


def compose(overrides: Sequence[str]) -> Config:
    """The typed configuration that `capsbench train` would run with these overrides.

    Raises:
        CapsbenchError: for an unknown key, a wrong value or an impossible combination.
    """
    return compose_many([overrides])[0]


def compose_many(overrides: Sequence[Sequence[str]]) -> list[Config]:
    """`compose` for several lists of overrides, reading the YAML files once."""
    with explained():
        return [typed(cfg) for cfg in composed(overrides)]


def composed(overrides: Sequence[Sequence[str]]) -> list[DictConfig]:
    """What Hydra makes of several lists of overrides, before it becomes typed."""
    import hydra

    register_schema()
    with _outside_of_application(), hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        return [hydra.compose("config", overrides=list(arm)) for arm in overrides]


@contextmanager
def explained() -> Iterator[None]:
    """Say in this package's words what is wrong with overrides.

    Raises:
        CapsbenchError: instead of Hydra's and OmegaConf's errors.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise CapsbenchError(explain(error)) from error


@contextmanager
def _outside_of_application() -> Iterator[None]:
    """Put a running Hydra application aside: a sweep composes its runs while Hydra is in the middle of the sweep."""
    state = GlobalHydra.instance()
    running, state.hydra = state.hydra, None
    try:
        yield
    finally:
        state.hydra = running


def typed(cfg: DictConfig) -> Config:
    """Dataclasses from what Hydra composed, with everything resolved and checked.

    Raises:
        CapsbenchError: for an impossible combination.
    """
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, Config)
    check(config)
    check_limits(config)
    return config


def explain(error: BaseException) -> str:
    """What is wrong with the overrides, which key it is about, and what would be valid."""
    text = str(error).strip()
    cause = error.__cause__ or error
    if isinstance(error, OverrideParseException):
        # Hydra says which of its parser's classes gave up.
        said = re.sub(r"^Lexer\w+: ", "cannot be read: ", text.splitlines()[0])
        named = said if str(error.override) in said else f"{error.override}: {said}"
        return f"{named}\nValues with commas, spaces, brackets, '=' or letters beyond ASCII need quotes: 'key=\"a, b\"'"
    if isinstance(error, MissingConfigException):
        return _explain_missing_option(text)
    unknown = re.search(r"Could not override '([^']+)'|Key '([^']+)' (?:is )?not in", text)
    key = getattr(cause, "full_key", None) or (unknown and (unknown[1] or unknown[2]))
    if unknown and key:
        return f"unknown key {unknown[1] or key}; {suggest(unknown[1] or str(key), keys())}"
    reason = str(getattr(cause, "msg", None) or cause).splitlines()[0]
    return f"{key}: {reason}" if key and str(key) not in reason else reason


def suggest(wrong: str, valid: Sequence[str]) -> str:
    """A hint at the nearest valid names: by the whole dotted name, or by its last part anywhere."""
    last = wrong.rsplit(".", 1)[-1]
    by_last: dict[str, list[str]] = {}
    for name in valid:
        by_last.setdefault(name.rsplit(".", 1)[-1], []).append(name)
    near = [name for match in difflib.get_close_matches(last, by_last, n=2, cutoff=0.7) for name in by_last[match]]
    near += [name for name in difflib.get_close_matches(wrong, valid, n=2, cutoff=0.6) if name not in near]
    near.sort(key=lambda name: -difflib.SequenceMatcher(None, wrong, name).ratio())
    if wrong in valid:
        return f"{wrong} belongs to another option of its group; `capsbench keys {wrong}` says which"
    if near:
        return f"did you mean {' or '.join(near[:3])}?"
    return "`capsbench keys` lists all keys"


def keys() -> list[str]:
    """Every dotted key of every group and model."""
    return [name for name, _, _ in documented_keys()]


def documented_keys() -> Iterator[tuple[str, Any, str]]:
    """Dotted name, default and meaning of every key; models' keys appear once for each family that has them."""
    yield from _walk("", Config)
    seen: set[str] = set()
    for family, node in MODELS.items():
        for name, default, doc in _walk("model.", node):
            if name not in seen:
                seen.add(name)
                yield name, default, f"{doc} [{family}]"


def _walk(prefix: str, node: type) -> Iterator[tuple[str, Any, str]]:
    for item in fields(node):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if is_dataclass(default) and not isinstance(default, type):
            yield from _walk(f"{prefix}{item.name}.", type(default))
        elif "doc" in item.metadata:
            yield f"{prefix}{item.name}", default, item.metadata["doc"]


def _explain_missing_option(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = re.search(r"Could not find '([^']+)'", text)
    options = [line for line in lines if re.fullmatch(r"[\w/-]+", line)]
    if wrong is None or not options:
        return f"{wrong[1]} is not known" if wrong else lines[0]
    group, _, name = wrong[1].rpartition("/")
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"; did you mean {group}={near[0]}?" if near else ""
    return f"{group}={name} is not known{hint or '.'} Valid: {', '.join(options)}"
