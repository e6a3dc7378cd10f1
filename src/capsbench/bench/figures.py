"""Figures of the engine that are kept: one file for a machine, in which every command has its last measurement.

    results/engine-<hardware>.json
        {"schema": 1, "kind": "engine", "measurements": {COMMAND: {"what", "figures", "load_before", "load_after",
                                                                   "provenance"}}}

`what` is the script's subject (engine, storage, many_runs, growth, tracking), `load_*` the machine's load averages over
1, 5 and 15 minutes, `provenance` commit, versions and hardware.
"""

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsbench.files import write_atomic
from capsbench.training.provenance import hardware_slug, now, provenance

KIND, SCHEMA = "engine", 1


class Figures:
    """Figures about to be measured; made before the measurement, whose load it notes.

    Args:
        what: the script's subject.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.load = os.getloadavg()
        self.origin = provenance()

    def values(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """One measurement as it is kept."""
        return {
            "what": self.what,
            "figures": dict(figures),
            "load_before": [round(load, 2) for load in self.load],
            "load_after": [round(load, 2) for load in os.getloadavg()],
            "provenance": {**self.origin, "finished": now()},
        }

    def keep(self, figures: Mapping[str, Any], folder: Path | None) -> Path | None:
        """Print the figures, and write them to the machine's file in `folder` instead of the same command's last.

        Returns:
            The file; None without a folder.
        """
        values = self.values(figures)
        print(json.dumps(values, indent=1))
        if folder is None:
            return None
        path = folder / f"{KIND}-{hardware_slug(self.origin)}.json"
        kept: dict[str, Any] = {"schema": SCHEMA, "kind": KIND, "measurements": {}}
        if path.exists():
            kept = json.loads(path.read_text())
        kept["measurements"][command()] = values
        write_atomic(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")
        return path


def command() -> str:
    """The script's command from the repository's root, without where its figures are kept."""
    words = [str(Path("scripts") / Path(sys.argv[0]).name), *sys.argv[1:]]
    if "--out" in words:
        position = words.index("--out")
        del words[position : position + 2]
    return shlex.join(["python", *words])
