"""Sweep files: what many runs are, read from `sweeps/NAME.yaml` into a checked `Sweep`.

A sweep file of `kind: ablation` fixes the whole design before anything runs: the arms as lists of Hydra overrides, the
seeds, the comparisons that will be tested, the metric and the checkpoint rule. The engine that runs the arms and the
report that compares them read the same object.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError

KINDS = ("ablation",)
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
PRESET_KEYS = ("base", "seeds")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


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
        preset: name of one of the file's presets; its overrides are appended to `base`, its seeds replace the file's.

    Raises:
        CapsbenchError: where there is no such file, or a key, arm, comparison, metric or preset in it is not valid.
    """
    path = _find(str(name), sweeps_dir)
    values = _read(path)
    _check_keys(values, SWEEP_KEYS, path, "")
    kind = values.get("kind", "ablation")
    if kind not in KINDS:
        raise CapsbenchError(f"{path}: kind is {kind!r}; valid: {', '.join(KINDS)}")
    arms = _arms(values.get("arms"), path)
    base = _texts(values.get("base"), path, "base")
    seeds = values.get("seeds")
    if preset is not None:
        extra, preset_seeds = _preset(values.get("presets"), preset, path)
        base, seeds = (*base, *extra), preset_seeds if preset_seeds is not None else seeds
    metric = _choice(values.get("metric", "test/errors"), METRICS, path, "metric")
    checkpoint = _choice(values.get("checkpoint", "last"), CHECKPOINTS, path, "checkpoint")
    if metric.startswith("affine/") and checkpoint != "last":
        raise CapsbenchError(f"{path}: metric {metric} is measured at the last epoch; checkpoint must be 'last'")
    return Sweep(
        name=path.stem,
        title=str(values.get("title", path.stem)),
        question=str(values.get("question", "")),
        seeds=_seeds(seeds, path),
        base=base,
        arms=arms,
        comparisons=_comparisons(values.get("comparisons"), arms, path),
        metric=metric,
        checkpoint=checkpoint,
        kind=kind,
        preset=preset,
    )


def available_sweeps(sweeps_dir: Path) -> list[str]:
    """Names of the sweep files in a folder."""
    return sorted(path.stem for path in sweeps_dir.glob("*.yaml"))


def _find(name: str, sweeps_dir: Path) -> Path:
    is_path = name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name
    path = Path(name) if is_path else sweeps_dir / f"{name}.yaml"
    if not path.is_file():
        names = available_sweeps(sweeps_dir)
        listed = f"available in {sweeps_dir}: {', '.join(names)}" if names else f"{sweeps_dir} holds no sweep files"
        raise CapsbenchError(f"no sweep file {path}{_nearest(name, names)}; {listed}")
    if not NAME.fullmatch(path.stem):
        raise CapsbenchError(f"{path}: the file's name becomes a folder's; use letters, digits, '_', '-' and '.'")
    return path


def _read(path: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise CapsbenchError(f"{path} is not a readable sweep file: {error}") from error
    if not isinstance(values, dict) or not values:
        raise CapsbenchError(f"{path}: expected a mapping with the keys {', '.join(SWEEP_KEYS)}")
    return {str(key): value for key, value in values.items()}


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
        _check_keys(entry, ARM_KEYS, path, where)
        label = str(entry.get("label", name))
        twins = [other for other, arm in arms.items() if arm.label == label]
        if twins:
            raise CapsbenchError(f"{path}: arms {twins[0]} and {name} have the same label {label!r}")
        overrides = _texts(entry.get("overrides"), path, f"{where}.overrides")
        arms[name] = Arm(label, overrides, _published(entry.get("published"), path, f"{where}.published"))
    return arms


def _published(values: object, path: Path, where: str) -> Published | None:
    if values is None:
        return None
    if not isinstance(values, Mapping) or "value" not in values:
        raise CapsbenchError(f"{path}: {where} needs at least a value; valid keys: {', '.join(PUBLISHED_KEYS)}")
    _check_keys(values, PUBLISHED_KEYS, path, where)
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
    for item in _sequence(values, path, "comparisons"):
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
            raise CapsbenchError(f"{path}: comparisons: {item!r} is not a pair [armA, armB]")
        pair = (str(item[0]), str(item[1]))
        for name in pair:
            if name not in arms:
                raise CapsbenchError(
                    f"{path}: comparisons: unknown arm {name!r}{_nearest(name, arms)}; arms: {', '.join(arms)}"
                )
        if pair[0] == pair[1] or pair in pairs or pair[::-1] in pairs:
            raise CapsbenchError(f"{path}: comparisons: {list(pair)} compares an arm with itself or repeats a pair")
        pairs.append(pair)
    return tuple(pairs)


def _preset(values: object, name: str, path: Path) -> tuple[tuple[str, ...], object]:
    presets = values if isinstance(values, Mapping) else {}
    if name not in presets:
        listed = f"its presets: {', '.join(map(str, presets))}" if presets else "it has no presets"
        raise CapsbenchError(f"{path}: no preset {name!r}{_nearest(name, map(str, presets))}; {listed}")
    where, preset = f"presets.{name}", presets[name]
    if not isinstance(preset, Mapping):
        return _texts(preset, path, where), None
    _check_keys(preset, PRESET_KEYS, path, where)
    return _texts(preset.get("base"), path, f"{where}.base"), preset.get("seeds")


def _seeds(values: object, path: Path) -> tuple[int, ...]:
    seeds = list(_sequence(values, path, "seeds"))
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise CapsbenchError(f"{path}: seeds is {values!r}; expected different whole numbers such as [0, 1, 2]")
    return tuple(seeds)


def _texts(values: object, path: Path, where: str) -> tuple[str, ...]:
    texts = _sequence(values, path, where)
    for text in texts:
        if not isinstance(text, str):
            raise CapsbenchError(f"{path}: {where}: {text!r} is not an override such as model.iterations=3")
    return tuple(texts)


def _sequence(values: object, path: Path, where: str) -> Sequence[Any]:
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise CapsbenchError(f"{path}: {where} is {values!r}; expected a list")
    return values


def _choice(value: object, valid: Sequence[str], path: Path, where: str) -> str:
    if value not in valid:
        raise CapsbenchError(f"{path}: {where} is {value!r}{_nearest(str(value), valid)}; valid: {', '.join(valid)}")
    return str(value)


def _check_keys(values: Mapping[Any, Any], valid: Sequence[str], path: Path, where: str) -> None:
    for key in map(str, values):
        if key not in valid:
            full = f"{where}.{key}" if where else key
            raise CapsbenchError(f"{path}: unknown key {full}{_nearest(key, valid)}; valid: {', '.join(valid)}")


def _nearest(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
