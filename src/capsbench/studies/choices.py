"""Samplers and pruners by name, with Optuna 5's defaults."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capsbench.errors import CapsbenchError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SAMPLERS = ("auto", "tpe", "gp", "random", "qmc", "brute")
PRUNERS = ("none", "median", "hyperband", "wilcoxon")
INSIDE_A_RUN = ("median", "hyperband")
GP_TRIALS = 200


def pick_sampler(name: str, *, trials: int, conditional: bool) -> str:
    """What `auto` stands for: a Gaussian process for small spaces without conditions, else tree-structured Parzen."""
    if name != "auto":
        return name
    return "tpe" if conditional or trials > GP_TRIALS else "gp"


def make_sampler(choice: Mapping[str, Any], seed: int | None) -> "BaseSampler":
    """The sampler of `{name: ..., argument: value, ...}`.

    Raises:
        CapsbenchError: for an argument that the sampler does not take.
    """
    from optuna import samplers

    name, arguments = _split(choice)
    # Quasi-random points come from one sequence, numbered in the storage: all workers must share its seed.
    seed = choice.get("seed", 0) if name == "qmc" else seed
    arguments.pop("seed", None)
    try:
        if name == "tpe":
            return samplers.TPESampler(**{"group": True, **arguments}, seed=seed)
        if name == "gp":
            return samplers.GPSampler(**arguments, seed=seed)
        if name == "qmc":
            return samplers.QMCSampler(**{"scramble": True, "warn_asynchronous_seeding": False, **arguments}, seed=seed)
        if name == "brute":
            return samplers.BruteForceSampler(**arguments, seed=seed)
        return samplers.RandomSampler(**arguments, seed=seed)
    except TypeError as error:
        raise CapsbenchError(f"sampler {name}: {error}") from None


def make_pruner(choice: Mapping[str, Any]) -> "BasePruner":
    """The pruner of `{name: ..., argument: value, ...}`.

    Raises:
        CapsbenchError: for an argument that the pruner does not take.
    """
    from optuna import pruners

    name, arguments = _split(choice)
    kinds: dict[str, Any] = {
        "median": pruners.MedianPruner,
        "hyperband": pruners.HyperbandPruner,
        "wilcoxon": pruners.WilcoxonPruner,
        "none": pruners.NopPruner,
    }
    try:
        pruner: BasePruner = kinds[name](**arguments)
    except TypeError as error:
        raise CapsbenchError(f"pruner {name}: {error}") from None
    return pruner


def _split(choice: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(choice["name"]), {name: value for name, value in choice.items() if name != "name"}
