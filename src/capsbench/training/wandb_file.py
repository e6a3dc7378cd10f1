"""Read and write W&B's `.wandb` files, which hold everything an offline run logged.

A `.wandb` file is a LevelDB log (https://github.com/google/leveldb/blob/main/doc/log_format.md) after a seven-byte
header, with a plain CRC-32 per fragment and a protobuf record per entry. `wandb leet inspect` reads it too, at a second
a run; this takes milliseconds.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic

Record = Any
"""A `wandb_internal_pb2.Record`, and `Item` one of its keys with a value; protobuf's classes have no types."""
Item = Any

BLOCK = 32768
FRAGMENT = struct.Struct("<IHB")
FILE_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class WandbRun:
    """What a `.wandb` file says about its run.

    Attributes:
        history: one flat dictionary per logged row, nested keys joined by dots, with its `_step`.
        exit_code: None where the run did not finish, or its last second did not reach the disk.
    """

    id: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    exit_code: int | None = None


def read_run(path: Path) -> WandbRun:
    """All that a `.wandb` file holds about its run, as plain values.

    Raises:
        CapsbenchError: if this is no `.wandb` file.
    """
    run = WandbRun()
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            _read_run_record(record.run, run)
        elif kind == "config":
            _update(run.config, record.config.update)
            for item in record.config.remove:
                run.config.pop(item.key, None)
        elif kind == "summary":
            _update(run.summary, record.summary.update)
        elif kind == "history":
            run.history.append(history_row(record))
        elif kind == "metric":
            run.metrics.append(record.metric.name or record.metric.glob_name)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    run.config.pop("_wandb", None)
    return run


def history_row(record: Record) -> dict[str, Any]:
    """One history record as a flat dictionary."""
    row = {".".join(item_key(item)): json.loads(item.value_json) for item in record.history.item}
    row.setdefault("_step", record.history.step.num)
    return row


def item_key(item: Item) -> tuple[str, ...]:
    """The key of a config, summary or history item: one part, or one per level of nesting."""
    return tuple(item.nested_key) or (item.key,)


def read_records(path: Path) -> Iterator[Record]:
    """The protobuf records of a `.wandb` file, up to the point where a killed run or a damaged disk cut it.

    Raises:
        CapsbenchError: if this is no `.wandb` file. An empty file holds no records and is no error.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto import wandb_internal_pb2

    for entry in _entries(path):
        record = wandb_internal_pb2.Record()
        try:
            record.ParseFromString(entry)
        except DecodeError:
            return
        yield record


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records, numbered anew from one, as a `.wandb` file that the real client uploads."""
    content = bytearray(FILE_HEADER)
    for number, record in enumerate(records, start=1):
        record.num = number
        _append(content, record.SerializeToString())
    write_atomic(path, bytes(content))


def _entries(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    if not content:
        return
    if content[: len(FILE_HEADER)] != FILE_HEADER[: len(content)]:
        raise CapsbenchError(f"{path} is not a .wandb file of a known version: it begins with {content[:7]!r}")
    position, parts = len(FILE_HEADER), b""
    while position + FRAGMENT.size <= len(content):
        room = BLOCK - position % BLOCK
        if room < FRAGMENT.size:
            position += room
            continue
        checksum, length, kind = FRAGMENT.unpack_from(content, position)
        start = position + FRAGMENT.size
        fragment = content[start : start + length]
        # A killed run leaves half a fragment or zeros; nothing after the first bad fragment can be trusted.
        if len(fragment) < length or not WHOLE <= kind <= LAST or _checksum(kind, fragment) != checksum:
            return
        parts = fragment if kind in (WHOLE, FIRST) else parts + fragment
        if kind in (WHOLE, LAST):
            yield parts
        position = start + length


def _append(content: bytearray, entry: bytes) -> None:
    kind = FIRST
    while True:
        room = BLOCK - len(content) % BLOCK
        if room < FRAGMENT.size:
            content.extend(bytes(room))
            continue
        fragment, entry = entry[: room - FRAGMENT.size], entry[room - FRAGMENT.size :]
        if not entry:
            kind = WHOLE if kind == FIRST else LAST
        content.extend(FRAGMENT.pack(_checksum(kind, fragment), len(fragment), kind) + fragment)
        if not entry:
            return
        kind = MIDDLE


def _checksum(kind: int, fragment: bytes) -> int:
    return zlib.crc32(fragment, zlib.crc32(bytes([kind])))


def _read_run_record(record: Record, run: WandbRun) -> None:
    run.id = record.run_id
    run.name = record.display_name
    run.project = record.project
    run.entity = record.entity
    run.group = record.run_group
    run.job_type = record.job_type
    run.tags = tuple(record.tags)
    _update(run.config, record.config.update)


def _update(values: dict[str, Any], items: Iterable[Item]) -> None:
    for item in items:
        *parents, name = item_key(item)
        inner = values
        for parent in parents:
            child = inner.setdefault(parent, {})
            if not isinstance(child, dict):
                child = inner[parent] = {}
            inner = child
        inner[name] = json.loads(item.value_json)
