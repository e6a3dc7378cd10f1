"""Files that belong to a run: pictures, requirements, console output."""

import base64
import hashlib

from fake_wandb.backend import NOW, Backend, Json, Operation, connection, global_id


def create_files(backend: Backend, variables: Json) -> Json:
    prefix = f"{variables['entity']}/{variables['project']}/{variables['run']}"
    files = [{"name": name, "uploadUrl": backend.upload_url(f"{prefix}/{name}")} for name in variables["files"]]
    return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}


def list_files(backend: Backend, variables: Json) -> Json:
    run = backend.find(variables)
    if run is None:
        raise LookupError(f"no such run: {variables}")
    prefix = f"{run.entity}/{run.project}/{run.name}/"
    wanted = variables.get("fileNames")
    names = [key.removeprefix(prefix) for key in backend.files if key.startswith(prefix)]
    nodes = [_node(backend, prefix, name) for name in names if not wanted or name in wanted]
    return {
        "project": {
            "internalId": global_id("ProjectInternalId", "7"),
            "run": {"fileCount": len(nodes), "files": connection(nodes)},
        }
    }


def _node(backend: Backend, prefix: str, name: str) -> Json:
    content = backend.files[prefix + name]
    return {
        "id": global_id("File", name),
        "name": name,
        "url": backend.upload_url(prefix + name),
        "directUrl": backend.upload_url(prefix + name),
        "sizeBytes": len(content),
        "mimetype": "",
        "updatedAt": NOW,
        "md5": base64.b64encode(hashlib.md5(content).digest()).decode(),
    }


OPERATIONS: dict[str, Operation] = {"CreateRunFiles": create_files, "RunFiles": list_files}
