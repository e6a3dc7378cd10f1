"""The typed configuration of a run that is on disk, from its config.yaml or result.json."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from capsbench.checks import check
from capsbench.compose import MODELS, compose, suggest
from capsbench.config import Config, run_hash
from capsbench.errors import CapsbenchError
from capsbench.limits import check_limits

GROUPS = ("evaluation", "logger")
INTERPOLATION = "${"


def typed_config(values: Mapping[str, Any], digits: str) -> Config:
    """The configuration behind plain values, proved by its hash.

    The values do not say which family of networks they are of; the one family that has these keys and gives the run's
    hash is it. Keys that a later version added are at their defaults, which the hash does not see.

    Args:
        values: what config.yaml holds.
        digits: the run's hash, as its folder's name ends in.

    Raises:
        CapsbenchError: no configuration of this version has these values and this hash.
    """
    model = values.get("model")
    if not isinstance(model, Mapping):
        raise CapsbenchError("the configuration has no model group")
    if INTERPOLATION in str(values):
        # It would be looked up here and now, in this process's environment too.
        raise CapsbenchError(f"{INTERPOLATION}...}} in it: what a run kept has no interpolations")
    problems = []
    # Families with just these keys first: another one may have them all and more.
    families = sorted(MODELS.values(), key=lambda family: {item.name for item in fields(family)} != set(model))
    for family in families:
        try:
            merged = OmegaConf.merge(OmegaConf.structured(Config(model=family())), dict(values))
            cfg = OmegaConf.to_object(merged)
        except RecursionError:
            raise CapsbenchError("the configuration is nested in itself") from None
        except (OmegaConfBaseException, TypeError, ValueError) as error:
            problems.append(str(error).strip().splitlines()[0])
            continue
        assert isinstance(cfg, Config)
        if run_hash(cfg) == digits:
            return cfg
        problems.append(f"as {family.__name__} it is {run_hash(cfg)}")
    raise CapsbenchError(
        f"no configuration of this version of capsbench is {digits} ({'; '.join(problems)}); "
        "the run was made by another version"
    )


def stored_config(folder: Path) -> Config:
    """The configuration of the run in `folder`, with `run` saying where it is now.

    Raises:
        CapsbenchError: the folder is no run's, or its configuration cannot be read.
    """
    import yaml

    path = folder / "config.yaml"
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise CapsbenchError(
            f"{folder} is not a run's folder: it has no config.yaml. A run is runs/GROUP/ARM_HASH/seedNN"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CapsbenchError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, Mapping):
        raise CapsbenchError(f"{path} holds no configuration")
    place = folder.resolve()
    arm, _, digits = place.parent.name.rpartition("_")
    try:
        cfg = typed_config(values, digits)
    except CapsbenchError as error:
        raise CapsbenchError(f"{path}: {error}") from error
    run = replace(cfg.run, root=str(place.parents[2]), group=place.parents[1].name, arm=arm)
    return replace(cfg, run=run)


def with_overrides(cfg: Config, overrides: Sequence[str]) -> Config:
    """A stored configuration with other evaluations (`evaluation=standard`) or single keys (`evaluation.seed=1`).

    Raises:
        CapsbenchError: an override is not known, not valid, or makes it another run.
    """
    chosen = [word for word in overrides if word.partition("=")[0] in GROUPS]
    dotted = [word for word in overrides if word not in chosen]
    changed = cfg
    if chosen:
        fresh = compose(chosen)
        changed = replace(cfg, **{word.partition("=")[0]: getattr(fresh, word.partition("=")[0]) for word in chosen})
    for word in dotted:
        key, equals, _ = word.partition("=")
        if not equals or ("." not in key and key != "seed"):
            raise CapsbenchError(f"{word}: expected {' or '.join(f'{name}=OPTION' for name in GROUPS)}, or key=value")
        try:
            merged = OmegaConf.merge(OmegaConf.structured(changed), OmegaConf.from_dotlist([word]))
            typed = OmegaConf.to_object(merged)
        except OmegaConfBaseException as error:
            from capsbench.compose import keys

            hint = suggest(key, keys()) if "not in" in str(error) else str(error).splitlines()[0]
            raise CapsbenchError(f"{word}: {hint}") from error
        assert isinstance(typed, Config)
        changed = typed
    check(changed)
    check_limits(changed)
    if run_hash(changed) != run_hash(cfg) or changed.seed != cfg.seed or changed.run != cfg.run:
        words = " ".join(overrides)
        raise CapsbenchError(f"{words} would make it another run; only what is measured after training can be changed")
    return changed
