"""A run's folder: its name, its claim, its state and its result, all on disk.

    runs/<group>/<arm>_<hash8>/seed03/
        config.yaml  provenance.json  metrics.csv  train.log  last.ckpt  best.ckpt  predictions.npz  pictures.npz
        result.json | failed.json  wandb/  claim/

`result.json` is written last, by rename, and is all that reports read. A run is claimed by making `claim/`, which only
one process can do, and keeping its `beat` file fresh; a claim whose beat is old, or whose process on this machine is
gone, is stale and may be taken over.
"""

import json
import os
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Any

from capsbench.config import Config, run_hash
from capsbench.errors import CapsbenchError
from capsbench.files import explained, write_atomic
from capsbench.processes import is_gone, is_here, this_process

PRUNED_FILE = "pruned.json"
SECTIONS = ("run", "metrics", "figures", "config", "provenance", "images")
MEND = "move it away and run again to make it anew"
BEAT = "beat"
GRAVE = ".claim."
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class State(StrEnum):
    """What the disk says about a run."""

    todo = "todo"
    running = "running"
    stale = "stale"
    failed = "failed"
    pruned = "pruned"
    done = "done"


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, whether it exists yet or not."""

    path: Path

    @property
    def state(self) -> State:
        """The run's state, read from disk."""
        if (self.path / "result.json").exists():
            return State.done
        claim = Claim(self.path)
        if claim.path.exists():
            return State.stale if claim.is_stale() else State.running
        if (self.path / "failed.json").exists():
            return State.failed
        if (self.path / PRUNED_FILE).exists():
            return State.pruned
        return State.stale if (self.path / "last.ckpt").exists() else State.todo

    def result(self) -> dict[str, Any]:
        """The contents of result.json.

        Raises:
            CapsbenchError: if the file is missing or is not what this package writes.
        """
        return _read_json(self.path / "result.json")

    def progress(self) -> dict[str, Any]:
        """Steps done and planned, epoch and last validation accuracy; empty when the run has not said so yet."""
        with suppress(OSError, ValueError):
            values = json.loads((self.path / "progress.json").read_text())
            return values if isinstance(values, dict) else {}
        return {}

    def failure(self) -> dict[str, Any]:
        """The contents of failed.json."""
        return _read_json(self.path / "failed.json")


def run_folder(cfg: Config) -> RunFolder:
    """Where the run of this configuration and seed lives."""
    for name, value in (("run.group", cfg.run.group), ("run.arm", cfg.run.arm)):
        if not value or Path(value).name != value or value.startswith("."):
            raise CapsbenchError(f"{name}={value!r} must be a plain folder name, without slashes or a leading dot")
    return RunFolder(Path(cfg.run.root) / cfg.run.group / f"{cfg.run.arm}_{run_hash(cfg)}" / f"seed{cfg.seed:02d}")


def run_record(cfg: Config) -> dict[str, Any]:
    """What a run is called, as stored in result.json."""
    digits = run_hash(cfg)
    return {
        "id": f"{cfg.run.arm}-{digits}-s{cfg.seed:02d}",
        "group": cfg.run.group,
        "arm": cfg.run.arm,
        "seed": cfg.seed,
        "hash": digits,
    }


def find_runs(root: Path, group: str | None = None) -> list[RunFolder]:
    """All run folders below `root` (of one group), sorted by path; foreign files are passed over."""
    pattern = f"{group or '*'}/*_????????/seed[0-9]*"
    return [RunFolder(path) for path in sorted(Path(root).glob(pattern)) if path.is_dir()]


class Claim:
    """The right to work in a run's folder, held by one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "claim"
        self.beat = self.path / BEAT
        self.stop = threading.Event()
        self.me: dict[str, Any] = {}

    def owner(self) -> dict[str, Any]:
        """Host, process and its start that hold the claim; empty while it is being made."""
        return _owner(self.path)

    def is_stale(self) -> bool:
        """Whether the holder is gone: a dead process of this machine, or no sign of life for a minute."""
        return _is_stale(self.path)

    def __enter__(self) -> "Claim":
        """Take the claim.

        Raises:
            CapsbenchError: if another live process holds it.
        """
        self.me = this_process()
        with explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.is_stale():
                self._bury()
            try:
                self.path.mkdir()
            except FileExistsError:
                raise CapsbenchError(
                    f"{self.path.parent} is being worked on by {self._holder()}; wait for it, or stop it first"
                ) from None
        try:
            self._write_beat()
        except BaseException:
            self.path.rmdir()
            raise
        self._clear_graves()
        threading.Thread(target=self._keep_beating, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        # After a long sleep the claim may have been taken over; then it is not this process's to remove.
        if self.owner() == self.me:
            rmtree(self.path, ignore_errors=True)

    def check(self) -> None:
        """Make sure that this process still holds the claim, before it writes what another one may be writing too.

        Raises:
            CapsbenchError: if the folder was removed or moved, or another process has taken the claim over.
        """
        if self.owner() == self.me:
            return
        if not self.path.parent.is_dir():
            raise CapsbenchError(f"{self.path.parent} has been removed or moved while the run was working in it")
        raise CapsbenchError(
            f"{self.path.parent} is not this process's any more: {self._holder()} has taken it over, because this one "
            "gave no sign of life for a minute, or somebody removed the claim"
        )

    def _holder(self) -> str:
        owner = self.owner()
        return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"

    def _bury(self) -> None:
        """Remove a stale claim; of several processes that find it stale, renaming lets one do so."""
        grave = self.path.with_name(f"{GRAVE}{secrets.token_hex(4)}")
        try:
            self.path.rename(grave)
            # Between the look and the rename another process may have taken over: then this is its live claim.
            if not _is_stale(grave):
                grave.rename(self.path)
                return
        except OSError:
            return
        rmtree(grave, ignore_errors=True)

    def _clear_graves(self) -> None:
        """Remove what a process left that was killed while it buried a claim."""
        for grave in self.path.parent.glob(f"{GRAVE}*"):
            if _is_stale(grave) or not (grave / BEAT).exists():
                rmtree(grave, ignore_errors=True)

    def _write_beat(self) -> None:
        write_atomic(self.beat, json.dumps(self.me))

    def _keep_beating(self) -> None:
        while not self.stop.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self.beat)


def _owner(claim: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        owner = json.loads((claim / BEAT).read_text())
        return owner if isinstance(owner, dict) else {}
    return {}


def _is_stale(claim: Path) -> bool:
    owner = _owner(claim)
    if is_here(owner):
        return is_gone(owner)
    try:
        last = (claim / BEAT if (claim / BEAT).exists() else claim).stat().st_mtime
    except OSError:
        return False
    return time.time() - last > STALE_SECONDS


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise CapsbenchError(f"{path} does not exist: the run has not come to that") from None
    except (ValueError, RecursionError) as error:
        raise CapsbenchError(f"{path} is damaged ({error}); {MEND}") from None
    except OSError as error:
        raise CapsbenchError(f"{path} cannot be read: {error.strerror or error}") from None
    if not isinstance(values, dict) or values.get("schema", 1) != 1:
        raise CapsbenchError(f"{path} is not a result of this version of capsbench")
    for name in SECTIONS:
        if not isinstance(values.get(name) or {}, dict):
            raise CapsbenchError(f"{path} is damaged ({name} is no mapping); {MEND}")
    numbers = {**(values.get("metrics") or {}), "test_images": values.get("test_images") or 0}
    wrong = next((name for name, value in numbers.items() if not isinstance(value, int | float)), None)
    if wrong is not None:
        raise CapsbenchError(f"{path} is damaged ({wrong} is {numbers[wrong]!r}, no number); {MEND}")
    return values
