"""Reports and saved workspaces (the server calls both views), and the projects that they belong to."""

import json

from fake_wandb.backend import ENTITY, NOW, Backend, Json, Operation, connection, global_id
from fake_wandb.runs import project


def upsert_view(backend: Backend, variables: Json) -> Json:
    """Make a view, or change the one with this id; an id that the server never gave is an error, as in life."""
    view_id = variables.get("id")
    if view_id and view_id not in backend.views:
        raise LookupError(f"no view {view_id}")
    inserted = not view_id
    view_id = view_id or global_id("View", str(len(backend.views) + 1))
    json.loads(variables["spec"])
    backend.projects.add((variables["entityName"], variables["projectName"]))
    backend.views[view_id] = {
        "id": view_id,
        **{name: variables.get(name) for name in ("type", "name", "displayName", "description", "spec")},
        "entity": variables["entityName"],
        "projectName": variables["projectName"],
    }
    return {"upsertView": {"view": _node(backend.views[view_id]), "inserted": inserted}}


def one_report(backend: Backend, variables: Json) -> Json:
    view = backend.views.get(variables["reportId"])
    return {"view": _node(view) if view else None}


def saved_views(backend: Backend, variables: Json) -> Json:
    wanted = variables.get("viewName")
    nodes = [_node(view) for view in backend.views.values() if wanted in (None, view["name"])]
    return {"project": {"allViews": connection(nodes)}}


def delete_view(backend: Backend, variables: Json) -> Json:
    gone = backend.views.pop(variables["id"], None) is not None
    return {"deleteView": {"success": gone, "pendingDrafts": [], "__typename": "DeleteViewPayload"}}


def list_projects(backend: Backend, variables: Json) -> Json:
    known = backend.projects | {key[:2] for key in backend.runs}
    entity = variables.get("entity") or ENTITY
    return {"models": connection([project(*place) for place in sorted(known) if place[0] == entity])}


def create_project(backend: Backend, variables: Json) -> Json:
    values = variables["input"]
    place = (values.get("entityName") or ENTITY, values["name"])
    backend.projects.add(place)
    made = {**project(*place), "description": None, "access": None, "views": "{}"}
    return {"result": {"project": made, "model": made, "inserted": True}}


def _node(view: Json) -> Json:
    return {
        **{name: view[name] for name in ("id", "type", "name", "displayName", "description", "spec")},
        "project": project(view["entity"], view["projectName"]),
        "createdAt": NOW,
        "updatedAt": NOW,
        "accessTokens": [],
    }


OPERATIONS: dict[str, Operation] = {
    "upsertView": upsert_view,
    "UpsertView2": upsert_view,
    "SpecificReport": one_report,
    "View": saved_views,
    "deleteView": delete_view,
    "GetProjects": list_projects,
    "CreateProject": create_project,
}
