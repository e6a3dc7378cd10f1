"""Search files: `sweeps/NAME.yaml` of `kind: search`, read into a checked `Search`.

    kind: search
    title: Learning rate of a CNN
    base: [model=cnn_small, data=mnist_small, evaluation=minimal, trainer.epochs=3]
    params:
      optimizer.lr: tag(log, interval(1e-4, 1e-2))
      model.dropout: interval(0.0, 0.5)
    trials: 20

What is searched must be measured on validation images or be a cost: a search that looks at test images is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.studies.choices import INSIDE_A_RUN, PRUNERS, SAMPLERS
from capsbench.sweep_file import KINDS, Sweep, load_sweep
from capsbench.sweep_yaml import check_keys, checked_seeds, choice, find_file, preset_values, read_file, sequence, texts

SEARCH_KEYS = (
    "kind",
    "title",
    "question",
    "base",
    "params",
    "objectives",
    "constraints",
    "sampler",
    "pruner",
    "trials",
    "seeds",
    "enqueue",
    "presets",
)
PRESET_KEYS = ("base", "params", "pruner", "trials", "seeds")
DIRECTIONS = ("minimize", "maximize")
FORBIDDEN = ("test/", "test_selected/", "affine/")
EVERY_EPOCH = ("val/loss", "val/accuracy")


@dataclass(frozen=True)
class Search:
    """A search's design.

    Attributes:
        name: the file's name without `.yaml`.
        base: Hydra overrides of every trial; a preset's come last.
        params: key -> space in Hydra's override grammar, or {space, when}.
        objectives: metric of result.json -> minimize or maximize.
        constraints: metric -> largest feasible value.
        sampler: `name` and the sampler's own arguments.
        pruner: `name` and the pruner's own arguments.
        trials: number of trials over the whole life of the study, complete or pruned.
        seeds: seeds of every trial; the objective is the mean over them.
        enqueue: points that are tried first.
        preset: the preset that was applied, if any.
        file: the path that the user gave; empty for a search known by name.
    """

    name: str
    title: str
    params: dict[str, Any]
    question: str = ""
    base: tuple[str, ...] = ()
    objectives: dict[str, str] = field(default_factory=lambda: {"val/loss": "minimize"})
    constraints: dict[str, float] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    pruner: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    trials: int = 20
    seeds: tuple[int, ...] = (0,)
    enqueue: tuple[dict[str, Any], ...] = ()
    preset: str | None = None
    file: str = ""

    @property
    def group(self) -> str:
        """Folder under the runs' root: a preset's trials never mix with those of the full search."""
        return self.name if self.preset is None else f"{self.name}-{self.preset}"


def load_design(name: str | Path, sweeps_dir: Path, preset: str | None = None) -> Sweep | Search:
    """Read and check a sweep file of either kind.

    Args:
        name: the name of a file in `sweeps_dir` without `.yaml`, or the path of any sweep file.
        sweeps_dir: folder of the sweeps known by name.
        preset: name of one of the file's presets.

    Raises:
        CapsbenchError: where there is no such file, or something in it is not valid.
    """
    path = find_file(str(name), sweeps_dir)
    values = read_file(path)
    if choice(values.get("kind", "ablation"), KINDS, path, "kind") == "ablation":
        return load_sweep(name, sweeps_dir, preset)
    check_keys(values, SEARCH_KEYS, path, "")
    base = texts(values.get("base"), path, "base")
    if preset is not None:
        changed = preset_values(values.get("presets"), preset, path, PRESET_KEYS)
        base = (*base, *changed.pop("base"))
        values |= changed
    params = values.get("params")
    if not isinstance(params, Mapping) or not params:
        raise CapsbenchError(f"{path}: params is {params!r}; expected a mapping of keys to spaces")
    search = Search(
        name=path.stem,
        title=str(values.get("title", path.stem)),
        question=str(values.get("question", "")),
        base=base,
        params={str(key): space for key, space in params.items()},
        objectives=_objectives(values.get("objectives", {"val/loss": "minimize"}), path),
        constraints=_constraints(values.get("constraints"), path),
        sampler=_named(values.get("sampler", "auto"), SAMPLERS, path, "sampler"),
        pruner=_named(values.get("pruner", "none"), PRUNERS, path, "pruner"),
        trials=_count(values.get("trials", 20), path),
        seeds=checked_seeds(values.get("seeds", [0]), path),
        enqueue=_points(values.get("enqueue"), params, path),
        preset=preset,
        file="" if path.parent == sweeps_dir else str(name),
    )
    _check_together(search, path)
    return search


def _objectives(values: object, path: Path) -> dict[str, str]:
    if not isinstance(values, Mapping) or not values:
        raise CapsbenchError(f"{path}: objectives is {values!r}; expected a mapping such as {{val/loss: minimize}}")
    for metric, direction in values.items():
        choice(direction, DIRECTIONS, path, f"objectives.{metric}")
        _refuse_test(str(metric), path, "objectives")
    return {str(metric): str(direction) for metric, direction in values.items()}


def _constraints(values: object, path: Path) -> dict[str, float]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise CapsbenchError(f"{path}: constraints is {values!r}; expected a mapping of metrics to their largest value")
    for metric, bound in values.items():
        _refuse_test(str(metric), path, "constraints")
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise CapsbenchError(f"{path}: constraints.{metric} is {bound!r}; expected a number")
    return {str(metric): float(bound) for metric, bound in values.items()}


def _refuse_test(metric: str, path: Path, where: str) -> None:
    if metric.startswith(FORBIDDEN):
        raise CapsbenchError(
            f"{path}: {where}.{metric} is measured on test images, which must not select anything; "
            "use val/loss, val/accuracy, a time/* or a cost/* metric"
        )


def _named(value: object, valid: tuple[str, ...], path: Path, where: str) -> dict[str, Any]:
    named = {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {"name": value}
    named["name"] = choice(named.get("name"), valid, path, f"{where}.name" if isinstance(value, Mapping) else where)
    return named


def _count(value: object, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CapsbenchError(f"{path}: trials is {value!r}; expected a whole number of at least 1")
    return value


def _points(values: object, params: Mapping[Any, Any], path: Path) -> tuple[dict[str, Any], ...]:
    points = sequence(values, path, "enqueue")
    for point in points:
        if not isinstance(point, Mapping):
            raise CapsbenchError(f"{path}: enqueue: {point!r} is not a mapping of parameters to values")
        check_keys(point, [str(key) for key in params], path, "enqueue")
    return tuple({str(key): value for key, value in point.items()} for point in points)


def _check_together(search: Search, path: Path) -> None:
    pruner = search.pruner["name"]
    first = next(iter(search.objectives))
    if pruner != "none" and len(search.objectives) > 1:
        raise CapsbenchError(f"{path}: pruner={pruner} needs one objective; there are {len(search.objectives)}")
    if pruner in INSIDE_A_RUN and first not in EVERY_EPOCH:
        raise CapsbenchError(
            f"{path}: pruner={pruner} looks at every epoch, but {first} is measured at the end only; "
            f"use {' or '.join(EVERY_EPOCH)}"
        )
    if pruner == "wilcoxon" and len(search.seeds) < 3:
        raise CapsbenchError(f"{path}: pruner=wilcoxon compares seeds; give at least three, not {list(search.seeds)}")
