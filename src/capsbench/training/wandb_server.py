"""What a W&B server has of some runs, and sending it more: the public API to read, the real `wandb sync` to write."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

API_SECONDS = 20
# So that a server which dies ends an upload in seconds; what it did not take is sent by the next one.
CLIENT_PATIENCE = {
    "WANDB_X_FILE_STREAM_RETRY_MAX": "3",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MIN_SECONDS": "1",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "4",
    "WANDB_X_FILE_TRANSFER_RETRY_MAX": "3",
    "WANDB_X_FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "4",
    "WANDB_X_GRAPHQL_RETRY_MAX": "3",
    "WANDB_X_GRAPHQL_RETRY_WAIT_MAX_SECONDS": "4",
}


@dataclass(frozen=True)
class Address:
    """Where a run is on a server; an empty entity is the user's default one."""

    entity: str
    project: str
    group: str
    run_id: str


@dataclass(frozen=True)
class Remote:
    """A run as the server has it: its number of history rows, and its state in the server's words."""

    rows: int = 0
    state: str = "missing"


def runs_on_server(addresses: Iterable[Address]) -> dict[str, Remote]:
    """What the server has, by run id, of those of the runs that it knows.

    Raises:
        Exception: what `wandb.Api` raises when the server cannot be read.
    """
    import wandb

    api = wandb.Api(timeout=API_SECONDS)
    wanted = {address.run_id for address in addresses}
    known: dict[str, Remote] = {}
    for entity, project, group in {(address.entity, address.project, address.group) for address in addresses}:
        path = f"{entity or api.default_entity}/{project}"
        try:
            found = list(api.runs(path, filters={"group": group}, per_page=200))
        except ValueError:
            # The project is made by its first upload.
            continue
        known |= {run.id: Remote(int(run.historyLineCount or 0), run.state) for run in found if run.id in wanted}
    return known


def steps_on_server(address: Address) -> set[int]:
    """The step of every row that the server has of one run."""
    import wandb

    api = wandb.Api(timeout=API_SECONDS)
    run = api.run(f"{address.entity or api.default_entity}/{address.project}/{address.run_id}")
    return {int(row["_step"]) for row in run.scan_history(keys=["_step"])}


def send(folders: Sequence[Path], timeout: float) -> str:
    """Upload W&B folders with the real client, as a process that is ended when it takes too long.

    Args:
        folders: folders with one `.wandb` file each; the client may leave logs beside the first.
        timeout: seconds for all of them.

    Returns:
        What the client complained about: its exit status is 0 even when it uploaded nothing.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "wandb", "sync", *map(str, folders)],
        cwd=folders[0].parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=timeout)
        except BaseException as error:
            _kill_with_children(process.pid)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return f"`wandb sync` took more than {timeout:.0f} s"
    complaints = [line for line in said.splitlines() if "ERROR" in line or "WARNING" in line]
    return " ".join(complaints[:2])


def _kill_with_children(pid: int) -> None:
    """End a process and what it started: wandb-core is in a session of its own and would go on for minutes."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
