"""All that a run wrote for W&B, over every time it was started, as the records of one run.

A run that is killed and resumed leaves one W&B folder per start, all under the same W&B run id. Their rows overlap
(what was logged after the last checkpoint is logged again) and may have gaps (what a killed process had not flushed).
The union has each logged step once: the newest start's row, completed from older starts and from metrics.csv.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from capsbench.errors import CapsbenchError
from capsbench.training.runs import RunFolder, State
from capsbench.training.wandb_file import Record, item_key, read_records
from capsbench.training.wandb_rebuilt import rebuilt_records

STEP_KEY = "trainer/global_step"
FOLDER_NAME = re.compile(r"(?:offline-)?run-(?P<started>\d{8}_\d{6})-.+")
# Streams that the server only appends to: sent with the first upload, not again when rows are added to it.
APPENDED = frozenset({"stats", "output", "output_raw"})


@dataclass(frozen=True)
class Attempt:
    """One W&B folder of a run, by its `.wandb` file."""

    file: Path
    started: str

    @property
    def run_id(self) -> str:
        """The W&B run id, which the folder's name may have a counter after."""
        return self.file.stem.removeprefix("run-")

    @cached_property
    def records(self) -> list[Record]:
        """The file's protobuf records."""
        return list(read_records(self.file))

    @property
    def run_record(self) -> Record | None:
        """What the client said about the run when it began."""
        return next((record for record in self.records if record.WhichOneof("record_type") == "run"), None)


def find_attempts(folder: Path) -> list[Attempt]:
    """The W&B folders of a run's current W&B run id, in the order they were started.

    The id is the newest folder's: a run that was begun afresh leaves folders of an older id, which are not part of it.
    """
    found = []
    for path in (folder / "wandb").glob("*run-*"):
        match = FOLDER_NAME.fullmatch(path.name)
        # `latest-run` is a link to one of the others.
        if match and not path.is_symlink():
            found += [Attempt(file, match["started"]) for file in path.glob("run-*.wandb")]
    seconds = Counter(attempt.started for attempt in found)
    found.sort(key=lambda attempt: (attempt.started, _nanoseconds(attempt) if seconds[attempt.started] > 1 else 0))
    return [attempt for attempt in found if attempt.run_id == found[-1].run_id]


def merged_records(attempts: list[Attempt], folder: Path, uploaded: set[int]) -> list[Record]:
    """The records of all starts as one run's, without the history rows of the steps in `uploaded`.

    Args:
        attempts: the starts, oldest first.
        folder: the run's folder, for metrics.csv, result.json and what W&B could not write.
        uploaded: steps that the server has; empty for a run it does not have.

    Returns:
        protobuf records, in an order that the real client can send.

    Raises:
        CapsbenchError: nothing says what the run is called.
    """
    beginning: list[Record] = []
    others: list[Record] = []
    ending: list[Record] = []
    for attempt in attempts:
        for record in attempt.records:
            kind = record.WhichOneof("record_type")
            if kind == "header":
                beginning = beginning or [record]
            elif kind == "exit":
                ending = [record] if attempt is attempts[-1] else []
            elif kind not in {"run", "history", "final", "footer"} and not (uploaded and kind in APPENDED):
                others.append(record)
    rows = merged_history(attempts, folder)
    missing = [rows[step] for step in sorted(rows) if step not in uploaded]
    about = run_record(attempts, folder)
    if not beginning:
        beginning = list(rebuilt_records(folder, attempts[-1].run_id) or ())[:1]
    return [*beginning, about, *others, *missing, *_outcome(RunFolder(folder), ending)]


def run_record(attempts: list[Attempt], folder: Path) -> Record:
    """What is said about the run at its beginning: as the newest start has it, begun when the oldest was.

    Raises:
        CapsbenchError: no start has it, and the run's own files do not say it either.
    """
    records = [attempt.run_record for attempt in attempts if attempt.run_record]
    if not records:
        rebuilt = rebuilt_records(folder, attempts[-1].run_id)
        if rebuilt is None:
            raise CapsbenchError(f"{attempts[-1].file} is empty: W&B could not write it (was the disk full?)")
        return rebuilt[1]
    newest = records[-1]
    newest.run.start_time.CopyFrom(records[0].run.start_time)
    # How an online start was resumed is between it and the server; an upload begins at the first row it sends.
    for name in ("resume", "resumed", "starting_step", "runtime", "storage_id"):
        newest.run.ClearField(name)
    return newest


def merged_history(attempts: list[Attempt], folder: Path) -> dict[int, Record]:
    """One history record per step, from all starts and from metrics.csv."""
    rows: dict[int, Record] = {}
    for attempt in attempts:
        for record in attempt.records:
            if record.WhichOneof("record_type") == "history":
                step = record.history.step.num
                if step in rows:
                    _complete(record, rows[step])
                rows[step] = record
    for step, record in _csv_records(folder / "metrics.csv"):
        rows.setdefault(step, record)
    return rows


def _nanoseconds(attempt: Attempt) -> int:
    record = attempt.run_record
    return int(record.run.start_time.ToNanoseconds()) if record else 0


def _complete(record: Record, older: Record) -> None:
    known = {item_key(item) for item in record.history.item}
    record.history.item.extend(item for item in older.history.item if item_key(item) not in known)


def _csv_records(path: Path) -> Iterator[tuple[int, Record]]:
    from wandb.proto import wandb_internal_pb2

    if not path.exists():
        return
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if not (row.get("step") or "").isdigit():
                continue
            step = int(row["step"])
            record = wandb_internal_pb2.Record()
            record.history.step.num = step
            values = {name: value for name, value in row.items() if name and name != "step" and _is_number(value)}
            values |= {"_step": str(step), STEP_KEY: str(step)}
            if _is_number(row.get("seconds")):
                values["_runtime"] = row["seconds"]
            for name, value in values.items():
                record.history.item.add(nested_key=[name], value_json=_json_number(value))
            yield step, record


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _json_number(text: str) -> str:
    value = float(text)
    return json.dumps(int(value) if value.is_integer() and "." not in text else value)


def _outcome(folder: RunFolder, ending: Iterable[Record]) -> list[Record]:
    """How the run ended: as W&B recorded it, or else as the folder says."""
    from wandb.proto import wandb_internal_pb2

    state = folder.state
    recorded = list(ending)
    agrees = state is not State.done or all(record.exit.exit_code == 0 for record in recorded)
    if (recorded and agrees) or state not in (State.done, State.failed):
        return recorded
    summary, end = wandb_internal_pb2.Record(), wandb_internal_pb2.Record()
    end.exit.exit_code = 0 if state is State.done else 1
    if state is State.done:
        for name, value in folder.result().get("metrics", {}).items():
            summary.summary.update.add(nested_key=[name], value_json=json.dumps(value))
    return [summary, end] if state is State.done else [end]
