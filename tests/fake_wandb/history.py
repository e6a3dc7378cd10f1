"""Rows that `wandb.Api` reads back."""

import json

from fake_wandb.backend import Backend, Json, Operation, StoredRun, from_json
from fake_wandb.runs import one_run


def _run(backend: Backend, variables: Json) -> StoredRun:
    run = backend.find(variables)
    if run is None:
        raise LookupError(f"no such run: {variables}")
    return run


def full(backend: Backend, variables: Json) -> Json:
    rows = [json.dumps(row) for row in _run(backend, variables).history()]
    return {"project": {"run": {"history": rows[: variables.get("samples") or 500], "events": []}}}


def page(backend: Backend, variables: Json) -> Json:
    rows = _run(backend, variables).history()
    chosen = [json.dumps(row) for row in rows if variables["minStep"] <= row["_step"] < variables["maxStep"]]
    return {"project": {"run": {"history": chosen}}}


def sampled(backend: Backend, variables: Json) -> Json:
    rows = _run(backend, variables).history()
    answers = []
    for spec in map(from_json, variables.get("specs") or [variables.get("spec")]):
        keys = list(dict.fromkeys(spec["keys"]))
        low, high = spec.get("minStep", 0), spec.get("maxStep", float("inf"))
        answers.append(
            [
                {key: row[key] for key in keys}
                for row in rows
                if all(key in row for key in keys) and low <= row["_step"] <= high
            ]
        )
    return {"project": {"run": {"sampledHistory": answers}}}


def parquet(backend: Backend, variables: Json) -> Json:
    """No exported files: the client then pages through live rows."""
    return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}


OPERATIONS: dict[str, Operation] = {
    "RunFullHistory": full,
    "HistoryPage": page,
    "RunSampledHistory": sampled,
    "SampledHistoryPage": sampled,
    "RunParquetHistory": parquet,
    "RunHistoryKeys": one_run,
}
