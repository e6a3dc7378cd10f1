"""What `capsbench sync` did, run by run, and how it says so."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Upload(StrEnum):
    """What became of one run."""

    uploaded = "uploaded"
    present = "already uploaded"
    pending = "to upload"
    running = "still running"
    untracked = "not tracked"
    failed = "failed"


@dataclass(frozen=True)
class RunUpload:
    """One run's outcome.

    Attributes:
        rows: rows of history the run has, after all of its starts.
        problem: why it failed; empty otherwise.
    """

    folder: Path
    upload: Upload
    run_id: str = ""
    rows: int = 0
    problem: str = ""


@dataclass(frozen=True)
class SyncReport:
    """What a call of `sync_runs` did, run by run."""

    server: str
    runs: tuple[RunUpload, ...]

    @property
    def complete(self) -> bool:
        """Whether no upload failed."""
        return not any(run.upload is Upload.failed for run in self.runs)

    def text(self) -> str:
        """One line per run that is not simply there already, then the totals."""
        lines = []
        for run in self.runs:
            if run.upload in (Upload.uploaded, Upload.pending):
                lines.append(f"{run.upload}  {run.folder}  {run.rows} rows as {run.run_id}")
            elif run.upload is not Upload.present:
                lines.append(f"{run.upload}  {run.folder}" + (f"  {run.problem}" if run.problem else ""))
        counts = [(kind, sum(run.upload is kind for run in self.runs)) for kind in Upload]
        total = ", ".join(f"{count} {kind}" for kind, count in counts if count) or "no runs"
        return "\n".join([*lines, f"{total} ({self.server})"])
