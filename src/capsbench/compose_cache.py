"""Configurations that were composed before, read back: Hydra takes 65 ms for each arm of a sweep (measured on 2 cores),
and `capsbench status` and the claims want every arm's identity each time they are asked.

A file says what it was composed from (every file of `conf`, this package's own top modules, the versions of Hydra and
OmegaConf, the overrides) and is believed only while all of that is the same. Nothing depends on it: without it, or
where it cannot be read or written, Hydra composes.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import hydra
import omegaconf

from capsbench.compose import HERE, MODELS, compose_many, shipped
from capsbench.config import Config
from capsbench.environment import cache_folder
from capsbench.files import write_atomic
from capsbench.training.identity import plain

KEPT_FILES = 64
# What a file that cannot be read, or is not what was written, ends in; an OSError where the folder cannot be written.
UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def compose_or_recall(overrides: Sequence[Sequence[str]]) -> list[Config]:
    """`compose_many`, from the file that the last call with these overrides left, if it is still true.

    Raises:
        CapsbenchError: for an unknown key, a wrong value or an impossible combination.
    """
    folder = cache_folder()
    # An interpolation may ask the environment, which no file knows.
    if folder is None or any("$" in word for arm in overrides for word in arm):
        return compose_many(overrides)
    asked = [list(arm) for arm in overrides]
    path = folder / "composed" / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.json"
    origin = {"sources": _sources(), "overrides": asked}
    with suppress(*UNUSABLE):
        kept = json.loads(path.read_bytes())
        if kept["origin"] == origin:
            return [_config(values) for values in kept["configs"]]
    configs = compose_many(overrides)
    written = json.dumps({"origin": origin, "configs": [_values(cfg) for cfg in configs]})
    with suppress(*UNUSABLE):
        # Only what comes back as it was is worth keeping.
        if [_config(values) for values in json.loads(written)["configs"]] == configs:
            write_atomic(path, written)
            _forget_oldest(path.parent)
    return configs


def _values(cfg: Config) -> dict[str, Any]:
    return {"family": type(cfg.model).__name__, **plain(cfg)}


def _config(values: dict[str, Any]) -> Config:
    family = {model.__name__: model for model in MODELS.values()}[values["family"]]
    kinds = {**_hints(Config), "model": family}
    return Config(**{name: _typed(kind, values[name]) for name, kind in kinds.items()})


def _typed(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{item.name: _typed(hints[item.name], value[item.name]) for item in fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _sources() -> str:
    """Digest of all that composing and checking read, but the overrides."""
    conf = shipped("conf")
    digest = hashlib.sha256(f"hydra {hydra.__version__} omegaconf {omegaconf.__version__}".encode())
    for path in sorted([*conf.rglob("*.yaml"), *HERE.glob("*.py")]):
        digest.update(f"{path}\n{path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT_FILES:]:
        path.unlink(missing_ok=True)
