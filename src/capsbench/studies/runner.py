"""One run of a trial in a child process, and what it came to."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from capsbench.config import Config
from capsbench.files import write_atomic
from capsbench.processes import this_process
from capsbench.studies.children import POLL, Children, Ending
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP
from capsbench.training.identity import is_done
from capsbench.training.runs import PRUNED_FILE, Claim, RunFolder, State, run_folder, run_record


@dataclass
class Outcome:
    """How a run or a trial came out: state is done, pruned, failed, lost or stopped."""

    state: str
    metrics: dict[str, float] = field(default_factory=dict)
    error: str = ""


class Runner:
    """Carries out one run after another.

    Args:
        spec: the study.
        index: number of its worker, which decides on the GPUs.
    """

    def __init__(self, spec: Spec, index: int) -> None:
        self.spec = spec
        environment = {"CUDA_VISIBLE_DEVICES": spec.gpus[index % len(spec.gpus)]} if spec.gpus else {}
        log = Path(spec.folder) / "workers" / f"{this_process()['host']}-{os.getpid()}.log"
        self.children = Children(spec.program, spec.isolation, log, environment, STOP.is_set)

    def run(self, cfg: Config, overrides: Sequence[str], variables: dict[str, str]) -> Outcome:
        """Carry out one run, or find that it is there; `variables` are further environment for it.

        A run that another process works on is waited for, whoever that is: a person, another sweep, or what is left
        for a moment of a worker that was killed. It is carried out only if it is not done then.
        """
        folder = run_folder(cfg)
        while True:
            while folder.state is State.running and not is_done(folder, cfg):
                if STOP.wait(POLL):
                    return Outcome("stopped")
            if is_done(folder, cfg):
                return Outcome("done", folder.result()["metrics"])
            ending = self.start(cfg, folder, overrides, variables)
            # Refused, because somebody was faster to claim the folder in between.
            if not (ending.status > 0 and not (ending.late or ending.stopped) and folder.state is State.running):
                return self.outcome(cfg, folder, ending)

    def start(self, cfg: Config, folder: RunFolder, overrides: Sequence[str], variables: dict[str, str]) -> Ending:
        """Carry out one run in a child, without what an earlier try has left."""
        (folder.path / "failed.json").unlink(missing_ok=True)
        (folder.path / PRUNED_FILE).unlink(missing_ok=True)
        if self.spec.threads is not None:
            threads = min(self.spec.threads, cfg.trainer.threads or self.spec.threads)
            cfg = replace(cfg, trainer=replace(cfg.trainer, threads=threads))
            overrides = [*overrides, f"trainer.threads={threads}"]
        seconds = None if self.spec.minutes is None else 60 * self.spec.minutes
        return self.children.run(cfg, overrides, folder.path / "output.log", variables, seconds)

    def outcome(self, cfg: Config, folder: RunFolder, ending: Ending) -> Outcome:
        """What the run left on disk, and what its end says where it left nothing."""
        if is_done(folder, cfg):
            return Outcome("done", folder.result()["metrics"])
        if folder.state is State.pruned:
            return Outcome("pruned", json.loads((folder.path / PRUNED_FILE).read_text())["metrics"])
        if ending.stopped:
            return Outcome("stopped")
        if ending.late:
            return self.failed(cfg, folder, f"stopped after its time limit of {self.spec.minutes:g} minutes")
        if (folder.path / "failed.json").exists():
            return Outcome("failed", error=folder.failure()["error"])
        if ending.status < 0 or folder.state is State.running:
            return Outcome("lost", error=f"its process was killed by signal {-ending.status}")
        return self.failed(cfg, folder, _last_line(folder.path / "output.log") or f"exit status {ending.status}")

    def failed(self, cfg: Config, folder: RunFolder, error: str) -> Outcome:
        """Write down a failure that the run could not write down itself, being dead."""
        claim = Claim(folder.path)
        if claim.is_stale():
            rmtree(claim.path, ignore_errors=True)
        origin: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            origin = json.loads((folder.path / "provenance.json").read_text())
        values = {
            "schema": 1,
            "state": "failed",
            "run": run_record(cfg),
            "error": error,
            "traceback": "",
            "provenance": origin,
        }
        write_atomic(folder.path / "failed.json", json.dumps(values, indent=2) + "\n")
        return Outcome("failed", error=error)


def _last_line(path: Path) -> str:
    with suppress(OSError):
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""
    return ""
