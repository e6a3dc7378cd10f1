"""Artifacts: sets of files with a manifest, uploaded file by file and then committed."""

from fake_wandb.backend import Backend, Json, Operation, connection, global_id


def artifact_type(backend: Backend, variables: Json) -> Json:
    return {"project": {"artifact": None}}


def create(backend: Backend, variables: Json) -> Json:
    values = variables.get("input", variables)
    artifact_id = global_id("Artifact", f"{values['artifactCollectionName']}:{values['digest']}")
    known = backend.artifacts.get(artifact_id)
    if known is None:
        backend.artifacts[artifact_id] = {**values, "state": "PENDING", "files": {}}
    sequence = {"id": global_id("Sequence", values["artifactCollectionName"]), "latestArtifact": None}
    state = backend.artifacts[artifact_id]["state"]
    return {"createArtifact": {"artifact": {"id": artifact_id, "state": state, "artifactSequence": sequence}}}


def create_manifest(backend: Backend, variables: Json) -> Json:
    manifest = global_id("Manifest", f"{variables['artifactID']}:{variables['name']}")
    url = backend.upload_url(f"manifest/{variables['artifactID']}") if variables.get("includeUpload") else None
    file = {"id": manifest, "uploadUrl": url, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": manifest, "file": file}}}


def create_files(backend: Backend, variables: Json) -> Json:
    nodes = []
    for file in variables.get("input", variables)["artifactFiles"]:
        artifact_id, name = file["artifactID"], file["name"]
        backend.artifacts[artifact_id]["files"][name] = file
        nodes.append(
            {
                "name": name,
                "storagePath": f"artifact/{artifact_id}/{name}",
                "uploadUrl": backend.upload_url(f"artifact/{artifact_id}/{name}"),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": artifact_id},
            }
        )
    return {"createArtifactFiles": {"files": connection(nodes)}}


def commit(backend: Backend, variables: Json) -> Json:
    artifact = backend.artifacts[variables["artifactID"]]
    artifact["state"] = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": artifact["digest"]}}}


OPERATIONS: dict[str, Operation] = {
    "ArtifactType": artifact_type,
    "CreateArtifact": create,
    "CreateArtifactManifest": create_manifest,
    "CreateArtifactFiles": create_files,
    "CommitArtifact": commit,
}
