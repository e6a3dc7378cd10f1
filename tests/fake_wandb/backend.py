"""What the fake backend holds, and the words every GraphQL answer is built from."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ENTITY = "fake-team"
NOW = "2026-01-01T00:00:00Z"

Json = dict[str, Any]


@dataclass
class StoredRun:
    """One run as the server knows it."""

    entity: str
    project: str
    name: str
    display_name: str
    config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    host: str | None = None
    state: str = "running"
    exit_code: int | None = None

    @property
    def id(self) -> str:
        """The server's own identifier; `name` is what the client calls the run's id."""
        return global_id("Run", f"{self.name}:{self.project}:{self.entity}")

    def stream(self, file: str) -> list[Json]:
        """The JSON lines received for one streamed file, in the order of their offsets."""
        return [json.loads(line) for _, line in sorted(self.lines.get(file, {}).items())]

    def history(self) -> list[Json]:
        """All rows logged to the run."""
        return self.stream("wandb-history.jsonl")


@dataclass
class Backend:
    """Runs by (entity, project, run id), uploaded files by storage key, views and artifacts by id, made projects."""

    url: str = ""
    runs: dict[tuple[str, str, str], StoredRun] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    views: dict[str, Json] = field(default_factory=dict)
    artifacts: dict[str, Json] = field(default_factory=dict)
    projects: set[tuple[str, str]] = field(default_factory=set)

    def find(self, variables: Json) -> StoredRun | None:
        """The run that a query's variables name, whatever this query calls them."""
        name = variables.get("name") or variables.get("run") or variables.get("runName")
        return self.runs.get(
            (variables.get("entity") or ENTITY, variables.get("project") or "uncategorized", name or "")
        )

    def upload_url(self, key: str) -> str:
        """Where the client puts or gets a file."""
        return f"{self.url}/storage/{key}"


Operation = Callable[[Backend, Json], Json]


def global_id(kind: str, name: str) -> str:
    """An opaque identifier of the form the server uses."""
    return base64.b64encode(f"{kind}:v1:{name}".encode()).decode()


def connection(nodes: list[Json]) -> Json:
    """A one-page GraphQL connection."""
    return {
        "edges": [{"node": node, "cursor": str(index)} for index, node in enumerate(nodes)],
        "totalCount": len(nodes),
        "pageInfo": {"endCursor": None, "hasNextPage": False},
    }


def from_json(value: Any) -> Any:
    """A variable that some clients send as a JSON string and others as an object."""
    return json.loads(value) if isinstance(value, str) and value else (value or {})
