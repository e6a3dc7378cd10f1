"""A search as a small file to be committed: its design, every trial, the best one and where it was run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.report.results_file import SCHEMA, origin_of, sweep_command, to_text
from capsbench.report.search import SearchRecord

KIND = "search"
TRIAL_KEYS = (
    "trial",
    "state",
    "values",
    "params",
    "constraints",
    "reported",
    "metrics",
    "error",
    "seconds",
    "baseline",
)


def write_search_file(values: Mapping[str, Any], search: SearchRecord, folder: Path) -> Path:
    """Write `folder/<study>.json`; nothing in it was measured on test images.

    Args:
        values: the contents of search.json.
        search: the same, read.
        folder: usually `results`.

    Raises:
        CapsbenchError: no trial is complete.
    """
    if not search.complete:
        raise CapsbenchError(f"no trial of {search.study} is complete: there are no results to keep")
    origins = {to_text(origin): origin for origin in (_origin(run.provenance) for run in search.runs)}
    kept = {
        "schema": SCHEMA,
        "kind": KIND,
        "sweep": search.name,
        "preset": search.preset,
        "study": search.study,
        "title": search.title,
        "question": search.question,
        "command": sweep_command(search.name, search.preset),
        "design": values["design"],
        "objectives": dict(search.objectives),
        "constraints": dict(search.constraints),
        "importance": values["importance"],
        "best": list(search.best),
        "trials": [{name: trial[name] for name in TRIAL_KEYS} for trial in values["trials"]],
        "provenance": [origins[text] for text in sorted(origins)],
    }
    path = folder / f"{search.study}.json"
    write_atomic(path, to_text(kept))
    return path


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What all trials of one machine and commit share."""
    return {name: value for name, value in origin_of(provenance).items() if name not in ("started", "finished")}
