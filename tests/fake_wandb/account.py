"""Who is logged in, and what the server can do."""

from fake_wandb.backend import ENTITY, Backend, Json, Operation, connection, global_id


def viewer(backend: Backend, variables: Json) -> Json:
    user = {
        "__typename": "User",
        "id": global_id("User", "1"),
        "entity": ENTITY,
        "username": "fake",
        "name": "Fake",
        "email": "fake@localhost",
        "admin": False,
        "flags": "{}",
        "deletedAt": None,
        "teams": connection([{"name": ENTITY}]),
        "apiKeys": connection([]),
    }
    return {"viewer": user}


def features(backend: Backend, variables: Json) -> Json:
    return {"serverInfo": {"features": []}}


def organization(backend: Backend, variables: Json) -> Json:
    return {"entity": {"organization": None}}


OPERATIONS: dict[str, Operation] = {
    "Viewer": viewer,
    "GetViewer": viewer,
    "GetDefaultEntity": viewer,
    "ServerFeaturesQuery": features,
    "OrganizationCoreWeaveOrganizationID": organization,
}
