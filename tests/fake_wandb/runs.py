"""Runs: how the client makes, changes, resumes and lists them."""

import json
from typing import Any

from fake_wandb.backend import ENTITY, NOW, Backend, Json, Operation, StoredRun, connection, from_json, global_id
from fake_wandb.filters import matches

HISTORY = "wandb-history.jsonl"
EVENTS = "wandb-events.jsonl"
CONSOLE = "output.log"


def project(entity: str, name: str) -> Json:
    """A project as answers hold it."""
    return {
        "__typename": "Project",
        "id": global_id("Project", f"{entity}/{name}"),
        "internalId": global_id("ProjectInternalId", "7"),
        "name": name,
        "entityName": entity,
        "entity": {"id": global_id("Entity", entity), "name": entity},
        "createdAt": NOW,
        "isBenchmark": False,
        "readOnly": False,
        "user": None,
    }


def upsert_run(backend: Backend, variables: Json) -> Json:
    """Make a run or change it; the answer's `historyLineCount` is where the client goes on writing rows."""
    run = next((run for run in backend.runs.values() if run.id == variables.get("id")), None) or backend.find(variables)
    inserted = run is None
    if run is None:
        key = (variables.get("entity") or ENTITY, variables.get("project") or "uncategorized", variables["name"])
        run = backend.runs[key] = StoredRun(*key, display_name=variables["name"])
    for variable, attribute in {
        "displayName": "display_name",
        "groupName": "group",
        "jobType": "job_type",
        "tags": "tags",
        "notes": "notes",
        "state": "state",
        "host": "host",
    }.items():
        if variables.get(variable) is not None:
            setattr(run, attribute, variables[variable])
    if variables.get("config"):
        run.config = from_json(variables["config"])
    if variables.get("summaryMetrics"):
        run.summary = from_json(variables["summaryMetrics"])
    bucket = {
        "id": run.id,
        "name": run.name,
        "displayName": run.display_name,
        "description": None,
        "config": json.dumps(run.config),
        "sweepName": None,
        "historyLineCount": len(run.history()),
        "project": project(run.entity, run.project),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


def resume_status(backend: Backend, variables: Json) -> Json:
    """What a client needs to continue a run; null for a run the server does not have."""
    run = backend.find(variables)
    if run is None:
        return {"model": None}
    bucket = {
        "id": run.id,
        "name": run.name,
        "displayName": run.display_name,
        "summaryMetrics": json.dumps(run.summary),
        "config": json.dumps(run.config),
        "tags": run.tags,
        "notes": run.notes,
        "historyLineCount": len(run.lines.get(HISTORY, {})),
        "eventsLineCount": len(run.lines.get(EVENTS, {})),
        "logLineCount": len(run.lines.get(CONSOLE, {})),
        "historyTail": json.dumps(_tail(run, HISTORY)),
        "eventsTail": json.dumps(_tail(run, EVENTS)),
        "wandbConfig": json.dumps({"t": 1}),
    }
    return {"model": {**project(run.entity, run.project), "bucket": bucket}}


def stopped_status(backend: Backend, variables: Json) -> Json:
    return {"project": {"run": {"stopped": False}}}


def list_runs(backend: Backend, variables: Json) -> Json:
    place = (variables.get("entity") or ENTITY, variables.get("project"))
    runs = [run for key, run in backend.runs.items() if key[:2] == place]
    if not runs:
        return {"project": None}
    chosen = [run for run in runs if matches(from_json(variables.get("filters")), run)]
    return {
        "project": {
            "internalId": global_id("ProjectInternalId", "7"),
            "runCount": len(chosen),
            "readOnly": False,
            "runs": connection([node(run) for run in chosen]),
        }
    }


def one_run(backend: Backend, variables: Json) -> Json:
    run = backend.find(variables)
    return {"project": {"run": node(run) if run else None}}


def node(run: StoredRun) -> Json:
    """A run as `wandb.Api` reads it."""
    return {
        "id": run.id,
        "projectId": "7",
        "name": run.name,
        "displayName": run.display_name,
        "tags": run.tags,
        "sweepName": None,
        "state": run.state,
        "config": json.dumps(run.config),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "group": run.group,
        "jobType": run.job_type,
        "commit": None,
        "readOnly": False,
        "createdAt": NOW,
        "heartbeatAt": NOW,
        "description": None,
        "notes": run.notes,
        "historyLineCount": len(run.history()),
        "historyKeys": {"lastStep": max((row["_step"] for row in run.history()), default=-1), "keys": {}},
        "user": {"name": "Fake", "username": "fake"},
    }


def receive_stream(run: StoredRun, body: Json) -> None:
    """Take a chunk of streamed lines; a line sent twice to one offset is kept once."""
    for file, chunk in (body.get("files") or {}).items():
        lines = run.lines.setdefault(file, {})
        for index, line in enumerate(chunk["content"]):
            lines[chunk["offset"] + index] = line
        if file == "wandb-summary.json" and chunk["content"]:
            run.summary = json.loads(chunk["content"][-1])
    if body.get("complete"):
        run.exit_code = body.get("exitcode")
        run.state = "failed" if run.exit_code else "finished"


def _tail(run: StoredRun, file: str) -> list[Any]:
    return [line for _, line in sorted(run.lines.get(file, {}).items())][-1:]


OPERATIONS: dict[str, Operation] = {
    "UpsertBucket": upsert_run,
    "RunResumeStatus": resume_status,
    "RunStoppedStatus": stopped_status,
    "Runs": list_runs,
    "Run": one_run,
}
