"""metrics.csv: one row per logged step, and never a gap or a double after a resume."""

import csv
import io
from argparse import Namespace
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger
from typing_extensions import override

from capsbench.errors import CapsbenchError
from capsbench.files import CannotWrite, write_atomic

FIRST_COLUMNS = ("step", "epoch", "seconds")


class MetricsCsv(Logger):
    """Lightning logger that appends to `metrics.csv`.

    Rows wait in memory until `save`, which the checkpoint callback calls just before it writes a checkpoint; so the
    file is never behind a checkpoint, and `drop_after` cuts what a killed run wrote after its last one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.columns, self.rows = _read(path)
        self.unsaved = 0

    @property
    @override
    def name(self) -> str:
        return "metrics"

    @property
    @override
    def version(self) -> str:
        return "0"

    @property
    def experiment(self) -> Any:
        """This logger writes a plain file: there is no experiment object behind it."""
        return self

    @override
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is in config.yaml."""

    @override
    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": step, **metrics}
        self.columns += [name for name in row if name not in self.columns]
        if self.rows and self.rows[-1].get("step") == str(step):
            self.rows[-1].update({name: _cell(value) for name, value in row.items()})
            self.unsaved = max(self.unsaved, 1)
        else:
            self.rows.append({name: _cell(value) for name, value in row.items()})
            self.unsaved += 1

    @override
    @rank_zero_only
    def save(self) -> None:
        # A folder that was taken away is not made again for rows alone; the next checkpoint says that it is missing.
        if not self.unsaved or not self.path.parent.is_dir():
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue())
        self.unsaved = 0

    @override
    @rank_zero_only
    def finalize(self, status: str) -> None:
        # The rows since the last checkpoint are for people to look at, as a run that goes on logs them again: that they
        # cannot be written must not hide why the run failed.
        with suppress(CannotWrite) if status == "failed" else nullcontext():
            self.save()

    def drop_after(self, step: int) -> None:
        """Forget rows logged later than step `step`, which a resumed run will log again."""
        kept = [row for row in self.rows if int(row["step"]) <= step]
        self.unsaved += len(self.rows) - len(kept)
        self.rows = kept


def _cell(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not path.exists():
        return list(FIRST_COLUMNS), []
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = list(reader.fieldnames or FIRST_COLUMNS)
        for number, row in enumerate(rows, start=2):
            if None in row or not str(row.get("step")).isdecimal():
                raise ValueError(f"row {number} has no step or too many cells")
    except (ValueError, csv.Error) as error:
        raise CapsbenchError(
            f"{path} is damaged ({error}); mend it, or remove it to go on from the checkpoint without the rows so far"
        ) from error
    return columns, rows
