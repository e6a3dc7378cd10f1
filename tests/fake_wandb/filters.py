"""The Mongo-like filters of `wandb.Api().runs(filters=...)`."""

import re
from collections.abc import Callable
from typing import Any

from fake_wandb.backend import Json, StoredRun

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, wanted: value == wanted or (isinstance(value, list) and wanted in value),
    "$ne": lambda value, wanted: value != wanted,
    "$in": lambda value, wanted: any(item in wanted for item in (value if isinstance(value, list) else [value])),
    "$nin": lambda value, wanted: value not in wanted,
    "$gt": lambda value, wanted: value is not None and value > wanted,
    "$gte": lambda value, wanted: value is not None and value >= wanted,
    "$lt": lambda value, wanted: value is not None and value < wanted,
    "$lte": lambda value, wanted: value is not None and value <= wanted,
    "$exists": lambda value, wanted: (value is not None) == wanted,
    "$regex": lambda value, wanted: bool(re.search(wanted, str(value))),
}


def matches(filters: Json, run: StoredRun) -> bool:
    """Whether a run passes; a comparison this fake does not know raises KeyError, which becomes an error answer."""
    return all(_passes(key, condition, run) for key, condition in filters.items())


def _passes(key: str, condition: Any, run: StoredRun) -> bool:
    if key in ("$and", "$or"):
        return (all if key == "$and" else any)(matches(part, run) for part in condition)
    comparisons = condition if isinstance(condition, dict) else {"$eq": condition}
    value = _value(key, run)
    return all(COMPARISONS[name](value, wanted) for name, wanted in comparisons.items())


def _value(key: str, run: StoredRun) -> Any:
    if key.startswith("config."):
        name, *rest = key.removeprefix("config.").split(".")
        value = run.config.get(name, {}).get("value")
        for part in rest:
            value = value.get(part) if isinstance(value, dict) else None
        return value
    if key.startswith("summary_metrics."):
        return run.summary.get(key.removeprefix("summary_metrics."))
    names = {"displayName": "display_name", "jobType": "job_type"}
    return getattr(run, names.get(key, key))
