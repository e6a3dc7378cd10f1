"""The HTTP side of the fake backend: GraphQL, streamed rows, file storage, injected faults, and a record of it all."""

import gzip
import json
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from fake_wandb import account, artifacts, files, history, runs, views
from fake_wandb.backend import ENTITY, Backend, Json, Operation, StoredRun

__all__ = ["ENTITY", "FakeWandb", "Request"]

OPERATIONS: dict[str, Operation] = {
    **account.OPERATIONS,
    **runs.OPERATIONS,
    **history.OPERATIONS,
    **files.OPERATIONS,
    **artifacts.OPERATIONS,
    **views.OPERATIONS,
}
DROP = "drop"
"""A fault that closes the connection without an answer."""
HANG = "hang"
"""A fault that takes a request and never answers it, as long as it is among the faults."""

# The client asks whether the server takes its telemetry, and stays silent after a 404.
TELEMETRY = re.compile(r".*/otel/.*")
STREAM = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")


@dataclass
class Request:
    """One request the client sent: a GraphQL operation's name, or `METHOD /path`, and what came with it."""

    operation: str
    body: Json = field(default_factory=dict)
    fault: int | str | None = None


class FakeWandb:
    """The server; use it as a context manager.

    Attributes:
        backend: the runs and files it holds.
        log: every request, in order of arrival.
        unknown: operations and paths that it does not know; it answered them with an error. Tests assert that it is
            empty, so that a new client's new requests are noticed.
        faults: what to answer instead, by GraphQL operation or by the start of a path: an HTTP status, `"drop"`
            or, for paths, `"hang"`.
        stalled: GraphQL operations that it holds, unanswered, until they are taken out of the set.
        rows_left: history rows it still takes before it acts as dead (drops every connection); None: no limit.
    """

    def __init__(self) -> None:
        self.backend = Backend()
        self.log: list[Request] = []
        self.unknown: list[str] = []
        self.faults: dict[str, int | str] = {}
        self.stalled: set[str] = set()
        self.rows_left: int | None = None
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = self.backend.url = f"http://127.0.0.1:{self.server.server_port}"
        self.env = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40}

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def operations(self) -> list[str]:
        """The names of all requests so far."""
        return [request.operation for request in self.log]

    def run(self, name: str) -> StoredRun:
        """The run with this id, in whichever project."""
        found = [run for run in self.backend.runs.values() if run.name == name]
        assert len(found) == 1, f"{len(found)} runs called {name}: {list(self.backend.runs)}"
        return found[0]

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        """Status and content for one request; None: drop the connection."""
        path = unquote(urlsplit(path).path)
        if path == "/graphql":
            return self._graphql(json.loads(body))
        with self.lock:
            request = Request(f"{method} {path}")
            self.log.append(request)
            request.fault = self._fault_of(path)
        while self._fault_of(path) == HANG:
            time.sleep(0.05)
        with self.lock:
            if request.fault is not None:
                return self._faulty(request.fault)
            if match := STREAM.fullmatch(path):
                request.body = json.loads(body or b"{}")
                return self._stream(match.groups(), request)
            if path.startswith("/storage/"):
                return self._storage(method, path.removeprefix("/storage/"), body)
            if not TELEMETRY.fullmatch(path):
                self.unknown.append(request.operation)
            return 404, b'{"error": "not found"}'

    def _graphql(self, query: Json) -> tuple[int, bytes] | None:
        named = re.search(r"\b(?:query|mutation)\s+(\w+)", query["query"])
        name = query.get("operationName") or (named and named.group(1)) or "unnamed"
        variables = query.get("variables") or {}
        request = Request(name, variables, self.faults.get(name))
        self.log.append(request)
        while name in self.stalled:
            time.sleep(0.05)
        with self.lock:
            return self._operation(request)

    def _operation(self, request: Request) -> tuple[int, bytes] | None:
        name = request.operation
        if self.rows_left == 0:
            return None
        if request.fault is not None:
            return self._faulty(request.fault)
        if name not in OPERATIONS:
            self.unknown.append(name)
            return 400, _error(f"the fake backend does not know {name}")
        try:
            return 200, json.dumps({"data": OPERATIONS[name](self.backend, request.body)}).encode()
        except (LookupError, TypeError, AttributeError) as error:
            self.unknown.append(f"{name}: {error!r}")
            return 400, _error(repr(error))

    def _stream(self, key: tuple[str, ...], request: Request) -> tuple[int, bytes] | None:
        entity, project, name = key
        chunk = (request.body.get("files") or {}).get("wandb-history.jsonl")
        if self.rows_left is not None:
            if self.rows_left == 0:
                return None
            if chunk:
                chunk["content"] = chunk["content"][: self.rows_left]
                self.rows_left -= len(chunk["content"])
        runs.receive_stream(self.backend.runs[entity, project, name], request.body)
        return None if self.rows_left == 0 else (200, b'{"exitcode": null, "limits": {}}')

    def _storage(self, method: str, key: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT":
            self.backend.files[key] = body
            return 200, b""
        return (200, self.backend.files[key]) if key in self.backend.files else (404, b"")

    def _fault_of(self, path: str) -> int | str | None:
        return next((fault for start, fault in list(self.faults.items()) if path.startswith(start)), None)

    def _faulty(self, fault: int | str) -> tuple[int, bytes] | None:
        return None if fault in (DROP, HANG) else (int(fault), _error(f"injected {fault}"))


def _error(message: str) -> bytes:
    return json.dumps({"errors": [{"message": message}]}).encode()


def _handler(fake: FakeWandb) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing on stderr."""

        def handle_any(self) -> None:
            # A client that was killed in the middle of a request is part of the tests.
            with suppress(ConnectionError):
                answer = fake.answer(self.command, self.path, self._body())
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline() or b"0", 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = handle_any  # noqa: N815

    return Handler
