"""All runs as one flat table, for a user's own notebook: a row per run, a column per metric and configuration key."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.files import replacing, write_atomic
from capsbench.report.concerns import hardware
from capsbench.report.tables.table import csv_text
from capsbench.training.runs import RunFolder, State, find_runs

Row = dict[str, Any]
FIRST = ("group", "arm", "seed", "hash", "state", "error")
PROVENANCE = ("commit", "dirty", "capsbench", "started", "finished")


def write_results(root: Path, group: str | None, out: Path) -> int:
    """Write one row per run below `root` (of one group) to a .csv or .parquet file.

    Returns:
        the number of runs.

    Raises:
        CapsbenchError: there are no runs, the ending is another one, or pyarrow is needed and not installed.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise CapsbenchError(f"--out {out}: the file's name must end in .csv or .parquet")
    if out.suffix == ".parquet":
        _pyarrow()
    rows = [flat_run(folder) for folder in find_runs(root, group)]
    if not rows:
        raise CapsbenchError(f"no runs in {root / group if group else root}")
    if out.suffix == ".csv":
        write_atomic(out, to_csv(rows))
    else:
        _write_parquet(rows, out)
    return len(rows)


def flat_run(folder: RunFolder) -> Row:
    """One run: who it is, where it stands, `metrics`, `config.` and what is known of its machine."""
    arm, _, digits = folder.path.parent.name.rpartition("_")
    seed = int("".join(filter(str.isdigit, folder.path.name)) or 0)
    row: Row = {"group": folder.path.parents[1].name, "arm": arm, "seed": seed, "hash": digits}
    row["state"], row["error"] = str(folder.state), None
    try:
        if folder.state is State.failed:
            row["error"] = str(folder.failure().get("error") or "")
        if folder.state is not State.done:
            return row
        result = folder.result()
    except CapsbenchError as error:
        return {**row, "state": "damaged", "error": str(error)}
    row |= {str(name): value for name, value in (result.get("metrics") or {}).items()}
    row["test_images"] = result.get("test_images")
    origin = result.get("provenance") or {}
    row |= {name: origin.get(name) for name in PROVENANCE} | {"hardware": hardware(origin)}
    return row | dict(_flat("config", result.get("config") or {}))


def to_csv(rows: list[Row]) -> str:
    """Comma-separated values; a cell that a spreadsheet would run as a formula is quoted away."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = columns(rows)
    writer.writerow(map(csv_text, names))
    for row in rows:
        writer.writerow(csv_text(value) if isinstance(value, str) else value for value in map(row.get, names))
    return stream.getvalue()


def columns(rows: list[Row]) -> list[str]:
    """Every column that any run has: identity first, then metrics, then the rest, each by name."""
    names = {name for row in rows for name in row} - set(FIRST)
    return [*FIRST, *sorted(names, key=lambda name: (name.startswith("config."), "/" not in name, name))]


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}.{name}"
        if isinstance(value, Mapping):
            yield from _flat(key, value)
        else:
            yield key, str(value) if isinstance(value, list) else value


def _write_parquet(rows: list[Row], out: Path) -> None:
    arrow = _pyarrow()
    import pyarrow.parquet

    table = {}
    for name in columns(rows):
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        # A column of a Parquet file has one type; 1 and 1.5 are both numbers, anything else mixed becomes text.
        if len(kinds) > 1:
            as_one = float if kinds <= {int, float} else str
            values = [None if value is None else as_one(value) for value in values]
        table[name] = values
    with replacing(out) as temporary:
        pyarrow.parquet.write_table(arrow.table(table), temporary)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        raise CapsbenchError(
            "a .parquet file needs pyarrow: `pip install 'capsbench[export]'`, or take --out results.csv"
        ) from None
    return pa
