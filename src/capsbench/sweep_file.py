"""Sweep files: what many runs are, read from `sweeps/NAME.yaml` into a checked `Sweep`.

A sweep file of `kind: ablation` fixes the whole design before anything runs: the arms as lists of Hydra overrides, the
seeds, the comparisons that will be tested, the metric and the checkpoint rule. The engine that runs the arms and the
report that compares them read the same object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.sweep_yaml import (
    NAME,
    available_sweeps,
    check_keys,
    checked_seeds,
    choice,
    find_file,
    nearest,
    preset_values,
    read_file,
    sequence,
    texts,
)

__all__ = ["Arm", "Published", "Sweep", "available_sweeps", "load_sweep"]

KINDS = ("ablation", "search")
METRICS = ("test/errors", "affine/errors")
CHECKPOINTS = ("last", "selected")
SWEEP_KEYS = (
    "kind",
    "title",
    "question",
    "seeds",
    "base",
    "arms",
    "comparisons",
    "metric",
    "checkpoint",
    "presets",
)
ARM_KEYS = ("label", "overrides", "published")
PUBLISHED_KEYS = ("value", "sd", "unit", "source", "how")
PRESET_KEYS = ("base", "seeds", "arms", "only")


@dataclass(frozen=True)
class Published:
    """A number from the literature that belongs beside an arm's own.

    Attributes:
        value: the number, in `unit`.
        sd: its published standard deviation, where there is one.
        unit: what it measures, `error %` unless the file says otherwise.
        source: paper, table and row.
        how: how it was obtained (published, mean of 3; recalled, unverified; ...).
    """

    value: float
    sd: float | None = None
    unit: str = "error %"
    source: str = ""
    how: str = "published"


@dataclass(frozen=True)
class Arm:
    """One configuration that is compared: what a report calls it, how it differs from the base, what was published."""

    label: str
    overrides: tuple[str, ...] = ()
    published: Published | None = None


@dataclass(frozen=True)
class Sweep:
    """An ablation's design, fixed before it runs.

    Attributes:
        name: the file's name without `.yaml`.
        seeds: the seeds every arm is run with.
        base: Hydra overrides that all arms share; a preset's come last, and an arm's own come after them.
        comparisons: declared pairs (A, B) of arm names; everything else is exploratory.
        metric: the errors that are compared, `test/errors` or `affine/errors`.
        checkpoint: `last` epoch or `selected` by validation accuracy.
        preset: the preset that was applied, if any.
        file: the path that the user gave; empty for a sweep known by name.
        extra: Hydra overrides that the user gave besides the file's.
    """

    name: str
    title: str
    arms: dict[str, Arm]
    seeds: tuple[int, ...]
    question: str = ""
    base: tuple[str, ...] = ()
    comparisons: tuple[tuple[str, str], ...] = ()
    metric: str = "test/errors"
    checkpoint: str = "last"
    kind: str = "ablation"
    preset: str | None = None
    file: str = ""
    extra: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Folder under the runs' root: a preset's runs never mix with those of the full sweep."""
        return self.name if self.preset is None else f"{self.name}-{self.preset}"

    def overrides(self, arm: str) -> list[str]:
        """Hydra overrides of one arm: the shared ones, then its own."""
        return [*self.base, *self.arms[arm].overrides]


def load_sweep(name: str | Path, sweeps_dir: Path, preset: str | None = None) -> Sweep:
    """Read and check one sweep file.

    Args:
        name: the name of a file in `sweeps_dir` without `.yaml`, or the path of any sweep file.
        sweeps_dir: folder of the sweeps known by name.
        preset: name of one of the file's presets; its overrides are appended to `base` and to the arms it names, its
            seeds replace the file's, and `only` leaves the other arms and their comparisons out. An arm that it changes
            has no published number any more.

    Raises:
        CapsbenchError: where there is no such file, or a key, arm, comparison, metric or preset in it is not valid.
    """
    path = find_file(str(name), sweeps_dir)
    values = read_file(path)
    kind = choice(values.get("kind", "ablation"), KINDS, path, "kind")
    if kind != "ablation":
        raise CapsbenchError(f"{path} is a {kind}; reports compare the arms of an ablation (kind: ablation)")
    check_keys(values, SWEEP_KEYS, path, "")
    arms = _arms(values.get("arms"), path)
    base = texts(values.get("base"), path, "base")
    seeds, changed = values.get("seeds"), dict[str, Any]()
    if preset is not None:
        changed = preset_values(values.get("presets"), preset, path, PRESET_KEYS)
        base, seeds = (*base, *changed["base"]), changed.get("seeds", seeds)
        arms |= _changed_arms(arms, changed.get("arms", {}), path, f"presets.{preset}.arms")
    comparisons = _comparisons(values.get("comparisons"), arms, path)
    if changed.get("only") is not None:
        arms = _only(arms, changed["only"], path, f"presets.{preset}.only")
    metric = choice(values.get("metric", "test/errors"), METRICS, path, "metric")
    checkpoint = choice(values.get("checkpoint", "last"), CHECKPOINTS, path, "checkpoint")
    if metric.startswith("affine/") and checkpoint != "last":
        raise CapsbenchError(f"{path}: metric {metric} is measured at the last epoch; checkpoint must be 'last'")
    return Sweep(
        name=path.stem,
        title=str(values.get("title", path.stem)),
        question=str(values.get("question", "")),
        seeds=checked_seeds(seeds, path),
        base=base,
        arms=arms,
        comparisons=tuple(pair for pair in comparisons if set(pair) <= set(arms)),
        metric=metric,
        checkpoint=checkpoint,
        kind=kind,
        preset=preset,
        file="" if path.parent == sweeps_dir else str(name),
    )


def _arms(values: object, path: Path) -> dict[str, Arm]:
    if not isinstance(values, Mapping) or not values:
        raise CapsbenchError(f"{path}: arms is empty; expected a mapping of arm names to label and overrides")
    arms: dict[str, Arm] = {}
    for key, value in values.items():
        name, where = str(key), f"arms.{key}"
        if not NAME.fullmatch(name):
            raise CapsbenchError(
                f"{path}: {where}: an arm's name becomes a folder's; use letters, digits, '_', '-', '.'"
            )
        entry = {} if value is None else value
        if not isinstance(entry, Mapping):
            raise CapsbenchError(f"{path}: {where} is {value!r}; expected a mapping with {', '.join(ARM_KEYS)}")
        check_keys(entry, ARM_KEYS, path, where)
        label = str(entry.get("label", name))
        twins = [other for other, arm in arms.items() if arm.label == label]
        if twins:
            raise CapsbenchError(f"{path}: arms {twins[0]} and {name} have the same label {label!r}")
        overrides = texts(entry.get("overrides"), path, f"{where}.overrides")
        arms[name] = Arm(label, overrides, _published(entry.get("published"), path, f"{where}.published"))
    return arms


def _changed_arms(arms: Mapping[str, Arm], values: object, path: Path, where: str) -> dict[str, Arm]:
    if not isinstance(values, Mapping):
        raise CapsbenchError(f"{path}: {where} is {values!r}; expected a mapping of arms to further overrides")
    check_keys(values, list(arms), path, where)
    return {
        name: replace(
            arms[name], overrides=(*arms[name].overrides, *texts(more, path, f"{where}.{name}")), published=None
        )
        for name, more in values.items()
    }


def _only(arms: Mapping[str, Arm], values: object, path: Path, where: str) -> dict[str, Arm]:
    names = [choice(name, list(arms), path, where) for name in sequence(values, path, where)]
    if not names:
        raise CapsbenchError(f"{path}: {where} is empty; name the arms that this preset runs: {', '.join(arms)}")
    return {name: arm for name, arm in arms.items() if name in names}


def _published(values: object, path: Path, where: str) -> Published | None:
    if values is None:
        return None
    if not isinstance(values, Mapping) or "value" not in values:
        raise CapsbenchError(f"{path}: {where} needs at least a value; valid keys: {', '.join(PUBLISHED_KEYS)}")
    check_keys(values, PUBLISHED_KEYS, path, where)
    sd = values.get("sd")
    try:
        return Published(
            value=float(values["value"]),
            sd=None if sd is None else float(sd),
            unit=str(values.get("unit", "error %")),
            source=str(values.get("source", "")),
            how=str(values.get("how", "published")),
        )
    except (TypeError, ValueError):
        raise CapsbenchError(f"{path}: {where}: value is {values['value']!r} and sd {sd!r}; both are numbers") from None


def _comparisons(values: object, arms: Mapping[str, Arm], path: Path) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for item in sequence(values, path, "comparisons"):
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
            raise CapsbenchError(f"{path}: comparisons: {item!r} is not a pair [armA, armB]")
        pair = (str(item[0]), str(item[1]))
        for name in pair:
            if name not in arms:
                raise CapsbenchError(
                    f"{path}: comparisons: unknown arm {name!r}{nearest(name, arms)}; arms: {', '.join(arms)}"
                )
        if pair[0] == pair[1] or pair in pairs or pair[::-1] in pairs:
            raise CapsbenchError(f"{path}: comparisons: {list(pair)} compares an arm with itself or repeats a pair")
        pairs.append(pair)
    return tuple(pairs)
