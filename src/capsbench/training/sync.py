"""Upload the runs of a sweep to W&B, every logged row exactly once.

The client alone cannot promise that: `wandb sync` adds a run's rows after whatever the server has, so a run that was
resumed, uploaded in part or uploaded twice has doubled rows. Here each run's W&B folders are joined into one, the
server is asked which rows it has, the real `wandb sync` sends the others, and the server is asked again.
"""

import json
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsbench.config import digest
from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.training.runs import RunFolder, State, find_runs
from capsbench.training.sync_report import RunUpload, SyncReport, Upload
from capsbench.training.wandb_attempts import Attempt, find_attempts, merged_history, merged_records, run_record
from capsbench.training.wandb_file import write_records
from capsbench.training.wandb_server import CLIENT_PATIENCE, Address, Remote, runs_on_server, send, steps_on_server
from capsbench.training.wandb_session import first_line, quiet_environment, unreachable

LEDGER = "uploaded.json"
RUNS_PER_UPLOAD = 20
CONFIRM_SECONDS = 20.0


@dataclass(frozen=True)
class Offline:
    """A run with something to upload.

    Attributes:
        address: where it belongs on a server, as its newest start has it.
        steps: the step of every row it has logged.
        done: whether it came to its end.
    """

    folder: Path
    address: Address
    steps: frozenset[int]
    done: bool
    fingerprint: str

    @property
    def run_id(self) -> str:
        """The W&B run id of all its starts."""
        return self.address.run_id

    def is_complete(self, remote: Remote) -> bool:
        """Whether the server has every row, and the end of a run that came to its end."""
        ended = ("finished",) if self.done else ("finished", "failed", "crashed", "killed")
        return remote.rows == len(self.steps) and remote.state in ended


def sync_runs(root: Path, group: str | None, *, dry_run: bool = False, timeout: float = 600.0) -> SyncReport:
    """Upload all runs below `root` that the W&B server does not have in full.

    Runs in progress are left alone. A run that failed or was killed is uploaded as it is; when it is finished later,
    the next call adds the rest.

    Args:
        root: the folder of all runs (`run.root`).
        group: the sweep whose runs to upload; None: all.
        dry_run: only say what would be done, without using the network.
        timeout: seconds that one call of `wandb sync`, for up to twenty runs, may take.

    Returns:
        What became of every run.

    Raises:
        CapsbenchError: if there are no such runs, wandb is not installed, nobody is logged in, or the server is not
            reachable at the beginning.
    """
    folders = find_runs(root, group)
    if not folders:
        raise CapsbenchError(f"no runs in {root / group if group else root}: nothing to upload")
    try:
        import wandb
    except ModuleNotFoundError:
        raise CapsbenchError("wandb is not installed; `pip install wandb` and call `capsbench sync` again") from None
    with quiet_environment(CLIENT_PATIENCE, WANDB_MODE="online", WANDB_SILENT="false"):
        server = str(wandb.setup().settings.base_url)
        results: dict[Path, RunUpload] = {}
        waiting: list[Offline] = []
        for folder in folders:
            found = _look_at(folder, server)
            results[folder.path] = found if isinstance(found, RunUpload) else _outcome(found, Upload.pending)
            if isinstance(found, Offline):
                waiting.append(found)
        if waiting and not dry_run:
            problem = unreachable()
            if problem:
                raise CapsbenchError(f"cannot upload {len(waiting)} runs: {problem}")
            for start in range(0, len(waiting), RUNS_PER_UPLOAD):
                for done in _upload(waiting[start : start + RUNS_PER_UPLOAD], server, timeout):
                    results[done.folder] = done
    return SyncReport(server, tuple(results[folder.path] for folder in folders))


def _look_at(run: RunFolder, server: str) -> RunUpload | Offline:
    """What the disk says about a run: an outcome where there is nothing to do, or what to upload."""
    if run.state is State.running:
        return RunUpload(run.path, Upload.running)
    attempts = find_attempts(run.path)
    if not attempts:
        return RunUpload(run.path, Upload.untracked)
    fingerprint = _fingerprint(run, attempts)
    known = _ledger(run.path).get(server, {})
    if known.get("fingerprint") == fingerprint:
        return RunUpload(run.path, Upload.present, attempts[-1].run_id, int(known["rows"]))
    try:
        about = run_record(attempts, run.path).run
        return Offline(
            run.path,
            Address(about.entity, about.project, about.run_group, attempts[-1].run_id),
            frozenset(merged_history(attempts, run.path)),
            run.state is State.done,
            fingerprint,
        )
    except CapsbenchError as error:
        return RunUpload(run.path, Upload.failed, attempts[-1].run_id, problem=str(error))


def _upload(runs: list[Offline], server: str, timeout: float) -> list[RunUpload]:
    """Upload some runs in one call of `wandb sync`, and compare with the server before and after."""
    try:
        before = runs_on_server([run.address for run in runs])
    except Exception as error:  # whatever the server did, the other runs go on
        return [_outcome(run, Upload.failed, f"the server could not be read: {first_line(error)}") for run in runs]
    outcomes, staged, folders = [], [], []
    with tempfile.TemporaryDirectory(prefix="capsbench-sync-") as stage:
        for run in runs:
            remote = before.get(run.run_id, Remote())
            if remote.rows > len(run.steps):
                problem = f"the server has {remote.rows} rows of {len(run.steps)}: something else uploaded it again"
                outcomes.append(_outcome(run, Upload.failed, f"{problem}; delete {run.run_id} there and sync again"))
            elif run.is_complete(remote) and server not in _ledger(run.folder):
                outcomes.append(_confirmed(run, Upload.present, server))
            else:
                try:
                    uploaded = steps_on_server(run.address) if remote.rows else set()
                    folders.append(_stage(run, Path(stage), uploaded))
                    staged.append(run)
                except Exception as error:  # one damaged run does not stop the others
                    outcomes.append(_outcome(run, Upload.failed, first_line(error)))
        if not staged:
            return outcomes
        said = send(folders, timeout)
    after, problem = _wait_for_server(staged, 0.0 if said else CONFIRM_SECONDS)
    for run in staged:
        remote = after.get(run.run_id, Remote())
        if run.is_complete(remote):
            outcomes.append(_confirmed(run, Upload.uploaded, server))
        else:
            reason = problem or f"the server has {remote.rows} of {len(run.steps)} rows, state {remote.state}"
            outcomes.append(_outcome(run, Upload.failed, "; ".join(filter(None, (reason, said)))))
    return outcomes


def _stage(run: Offline, stage: Path, uploaded: set[int]) -> Path:
    """Write and return one W&B folder that holds all of the run's starts, less the rows that the server has."""
    attempts = find_attempts(run.folder)
    folder = stage / f"offline-run-{attempts[0].started}-{run.run_id}"
    for attempt in attempts:
        files = attempt.file.with_name("files")
        if files.is_dir():
            shutil.copytree(files, folder / "files", dirs_exist_ok=True)
    write_records(folder / f"run-{run.run_id}.wandb", merged_records(attempts, run.folder, uploaded))
    return folder


def _wait_for_server(runs: list[Offline], seconds: float) -> tuple[dict[str, Remote], str]:
    """What the server has after an upload, given some seconds to count the rows."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            known = runs_on_server([run.address for run in runs])
        except Exception as error:  # an upload that cannot be checked counts as failed
            return {}, f"the server could not be read afterwards: {first_line(error)}"
        if all(run.is_complete(known.get(run.run_id, Remote())) for run in runs) or time.monotonic() > deadline:
            return known, ""
        time.sleep(0.5)


def _confirmed(run: Offline, upload: Upload, server: str) -> RunUpload:
    """Note that the server has all of a run, for the next call and for the user's own `wandb sync`."""
    ledger = _ledger(run.folder)
    ledger[server] = {"run_id": run.run_id, "rows": len(run.steps), "fingerprint": run.fingerprint}
    # Where runs are read-only, the next call asks the server instead.
    with suppress(OSError):
        write_atomic(run.folder / "wandb" / LEDGER, json.dumps(ledger, indent=1))
        for attempt in find_attempts(run.folder):
            attempt.file.with_suffix(".wandb.synced").touch()
    return _outcome(run, upload)


def _outcome(run: Offline, upload: Upload, problem: str = "") -> RunUpload:
    return RunUpload(run.folder, upload, run.run_id, len(run.steps), problem)


def _ledger(folder: Path) -> dict[str, Any]:
    try:
        ledger = json.loads((folder / "wandb" / LEDGER).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(ledger, dict):
        return {}
    return {server: entry for server, entry in ledger.items() if isinstance(entry, dict)}


def _fingerprint(run: RunFolder, attempts: list[Attempt]) -> str:
    """Changes when a run has logged more, was started again, or ended otherwise."""
    files = [*(attempt.file for attempt in attempts), run.path / "metrics.csv"]
    sizes = [[file.parent.name, file.stat().st_size] for file in files if file.exists()]
    return digest([sizes, run.state.value])
