"""A search as a W&B sweep, for teams that drive their sweeps from there: `wandb sweep FILE`, then `wandb agent ID`."""

from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.studies.search_file import Search
from capsbench.studies.space import Space, parse_space
from capsbench.sweep_file import Sweep

METHODS = {"brute": "grid", "random": "random", "qmc": "random"}
HEAD = """\
# Made by `capsbench sweep {name} --export-wandb`. W&B draws on its own; what it draws does not enter our study.
# Runs must be mirrored online (logger=wandb_online is set), since W&B's agent waits for their metrics.
"""


def wandb_sweep(design: Sweep | Search) -> str:
    """The YAML of a W&B sweep over the same space.

    Raises:
        CapsbenchError: for what W&B cannot express: arms that are lists of overrides, or several objectives.
    """
    import yaml

    if isinstance(design, Sweep):
        raise CapsbenchError(
            f"{design.name} is an ablation, whose arms are lists of overrides; W&B sweeps have no such thing"
        )
    if len(design.objectives) > 1:
        raise CapsbenchError(f"{design.name} has {len(design.objectives)} objectives; a W&B sweep has one")
    space = parse_space(design.params)
    metric, direction = next(iter(design.objectives.items()))
    base = [text for text in design.base if not text.startswith("logger=")]
    words = ["capsbench", "train", *base, f"run.group={design.group}", "logger=wandb_online"]
    values: dict[str, Any] = {
        "name": design.group,
        "method": METHODS.get(design.sampler["name"], "bayes"),
        "metric": {"name": metric, "goal": direction},
        "run_cap": design.trials,
        "parameters": {key: _parameter(distribution) for key, distribution in space.distributions.items()},
        "command": [*words, "${args_no_hyphens}"],
    }
    if design.pruner["name"] == "hyperband":
        values["early_terminate"] = {"type": "hyperband", "min_iter": int(design.pruner.get("min_resource", 1))}
    return HEAD.format(name=design.name) + _conditions(space) + yaml.safe_dump(values, sort_keys=False)


def _conditions(space: Space) -> str:
    lines = [f"# {key} is drawn here even where {when} does not hold.\n" for key, when in space.conditions.items()]
    return "".join(lines)


def _parameter(distribution: Any) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return {"values": list(distribution.choices)}
    ends = {"min": distribution.low, "max": distribution.high}
    if isinstance(distribution, IntDistribution) and not distribution.log:
        if distribution.step == 1:
            return {"distribution": "int_uniform", **ends}
        return {"values": list(range(distribution.low, distribution.high + 1, distribution.step))}
    if distribution.log:
        name = "q_log_uniform_values" if isinstance(distribution, IntDistribution) else "log_uniform_values"
        return {"distribution": name, **ends} | ({"q": 1} if isinstance(distribution, IntDistribution) else {})
    if distribution.step is not None:
        return {"distribution": "q_uniform", "q": distribution.step, **ends}
    return {"distribution": "uniform", **ends}
