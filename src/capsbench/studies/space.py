"""A search space in Hydra's override grammar, as Optuna distributions, and drawn values as overrides again.

optimizer.lr: interval(1e-4, 1e-2)           a float; two whole numbers make an integer
optimizer.lr: tag(log, interval(1e-4, 1e-2)) the same, drawn on a logarithmic scale
model.class_dim: range(8, 25, 8)             8, 16, 24
model.squash: choice(hinton, exponential)    one of several
optimizer.decay: {space: interval(0.9, 1), when: {optimizer.schedule: exponential}}
                                             exists only together with that value of a parameter above it
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException

from capsbench.errors import CapsbenchError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

GRAMMAR = "interval(a, b), tag(log, interval(a, b)), range(start, stop, step) or choice(a, b, ...)"


@dataclass(frozen=True)
class Space:
    """What is drawn for a trial.

    Attributes:
        distributions: key -> where its value comes from, in the order of drawing.
        conditions: key -> {other key: values for which this key exists}.
    """

    distributions: "dict[str, BaseDistribution]"
    conditions: dict[str, dict[str, list[Any]]]


def parse_space(params: Mapping[str, Any]) -> Space:
    """Read the `params` of a search.

    Raises:
        CapsbenchError: for a key whose space cannot be read, or a condition on a parameter that is not above it.
    """
    distributions: dict[str, BaseDistribution] = {}
    conditions: dict[str, dict[str, list[Any]]] = {}
    for name, value in params.items():
        text, when = value, None
        if isinstance(value, Mapping):
            text, when = value.get("space"), value.get("when")
            if set(value) - {"space", "when"} or not text:
                raise CapsbenchError(f"params.{name} is {dict(value)!r}; expected the keys space and when")
        if when is not None:
            conditions[name] = _condition(name, when, distributions)
        distributions[name] = _distribution(name, str(text))
    return Space(distributions, conditions)


def is_sweep(override: str) -> bool:
    """Whether an override on the command line describes several values."""
    return bool(_parse(override).is_sweep_override())


def draw(trial: "Trial", space: Space) -> dict[str, Any]:
    """Let the sampler choose a value for every parameter whose condition holds."""
    chosen: dict[str, Any] = {}
    for name, distribution in space.distributions.items():
        when = space.conditions.get(name, {})
        if all(chosen.get(other) in values for other, values in when.items()):
            chosen[name] = _suggest(trial, name, distribution)
    return chosen


def override(name: str, value: Any) -> str:
    """`name=value` in a form that Hydra reads back as the same value."""
    if value is None:
        return f"{name}=null"
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    return f"{name}={value!r}" if isinstance(value, float) else f"{name}={value}"


def as_json(space: Space) -> dict[str, str]:
    """The distributions as text."""
    from optuna.distributions import distribution_to_json

    return {name: distribution_to_json(distribution) for name, distribution in space.distributions.items()}


def from_json(texts: Mapping[str, str], conditions: dict[str, dict[str, list[Any]]]) -> Space:
    """The space that `as_json` wrote."""
    from optuna.distributions import json_to_distribution

    return Space({name: json_to_distribution(text) for name, text in texts.items()}, conditions)


def _suggest(trial: "Trial", name: str, distribution: "BaseDistribution") -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    return trial.suggest_categorical(name, getattr(distribution, "choices"))  # noqa: B009 - categorical, all that is left


def _condition(name: str, when: object, above: "Mapping[str, BaseDistribution]") -> dict[str, list[Any]]:
    if not isinstance(when, dict) or not when:
        raise CapsbenchError(
            f"params.{name}.when is {when!r}; expected {{parameter: value}} or {{parameter: [values]}}"
        )
    for other in when:
        if other not in above:
            raise CapsbenchError(f"params.{name}.when: {other} is not a parameter above it; there: {', '.join(above)}")
    return {str(other): list(values) if isinstance(values, list) else [values] for other, values in when.items()}


def _distribution(name: str, text: str) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    parsed = _parse(f"{name}={text}")
    value: Any = parsed.value()
    try:
        if isinstance(value, IntervalSweep):
            log = "log" in value.tags
            # Declared as floats, but whole numbers where the text has whole numbers.
            low, high = cast(Any, value.start), cast(Any, value.end)
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low), float(high), log=log)
        if parsed.is_range_sweep() and not value.shuffle:
            return _steps(name, value)
        if parsed.is_sweep_override():
            return CategoricalDistribution([_plain(item) for item in parsed.sweep_iterator(Transformer.encode)])
    except ValueError as error:
        raise CapsbenchError(f"params.{name}={text}: {error}") from None
    raise CapsbenchError(f"params.{name}={text} is a single value; expected {GRAMMAR}")


def _steps(name: str, value: RangeSweep) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    start, stop, step = (Decimal(str(number)) for number in (value.start, value.stop, value.step))
    count = math.ceil((stop - start) / step)  # Hydra's stop is left out, Optuna's high is not
    if count < 1:
        raise CapsbenchError(f"params.{name}: the range is empty")
    low, high = sorted((start, start + (count - 1) * step))
    if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
        return IntDistribution(int(low), int(high), step=int(abs(step)))
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_overrides([text])[0]
    except HydraException as error:
        raise CapsbenchError(f"{text} cannot be read; expected {GRAMMAR}: {str(error).splitlines()[0]}") from None


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def grid_size(distributions: "Iterable[BaseDistribution]") -> int | None:
    """Number of points, where all parameters are discrete."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    size = 1
    for distribution in distributions:
        if isinstance(distribution, CategoricalDistribution):
            size *= len(distribution.choices)
        elif isinstance(distribution, IntDistribution) and not distribution.log:
            size *= 1 + (distribution.high - distribution.low) // distribution.step
        elif isinstance(distribution, FloatDistribution) and distribution.step is not None:
            size *= 1 + round((distribution.high - distribution.low) / distribution.step)
        else:
            return None
    return size
