"""Runs as child processes of a worker: started, watched, stopped, and never left behind.

A run never shares the worker's process: it can crash, run out of memory or start the other processes of a run on
several devices as any single run does.
"""

import base64
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from capsbench.config import Config
from capsbench.processes import PARENT

POLL = 0.2
PATIENCE = 15.0
# Lightning would take a worker's place in SLURM or submitit for its own and wait for srun's other tasks.
NOT_INHERITED = ("SUBMITIT_", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP")


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        status: exit status; negative: the signal that killed it.
        late: it was killed because its time was over.
        stopped: it was killed because the worker was told to stop.
    """

    status: int
    late: bool = False
    stopped: bool = False


class Children:
    """Starts one child after another.

    Args:
        program: module that carries out a run.
        isolation: `fork` or `process`.
        log: file for what the zygote itself says.
        environment: variables for every child.
        should_stop: asked several times a second while a child runs.
    """

    def __init__(
        self,
        program: str,
        isolation: str,
        log: Path,
        environment: dict[str, str],
        should_stop: Callable[[], bool],
    ) -> None:
        self.program, self.isolation, self.log = program, isolation, log
        self.environment, self.should_stop = environment, should_stop
        self.zygote: subprocess.Popen[bytes] | None = None

    def run(
        self, cfg: Config, overrides: Sequence[str], log: Path, variables: dict[str, str], seconds: float | None
    ) -> Ending:
        """Carry out one run and wait for it.

        Args:
            cfg: what the overrides compose to.
            overrides: the same as text.
            log: file that gets the child's output.
            variables: further environment.
            seconds: time limit.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if self.isolation == "fork":
            pid, poll = self._fork(cfg, overrides, log, variables)
        else:
            pid, poll = self._spawn(overrides, log, variables)
        try:
            return self._watch(pid, poll, seconds)
        finally:
            _kill_group(pid, signal.SIGKILL)  # what a crash may have left of a run on several devices

    def close(self) -> None:
        """End the zygote."""
        if self.zygote is not None:
            self.zygote.kill()
            self.zygote.wait()
            for stream in (self.zygote.stdin, self.zygote.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self.zygote = None

    def _watch(self, pid: int, poll: Callable[[float], int | None], seconds: float | None) -> Ending:
        begun = time.monotonic()
        late = stopped = False
        told: float | None = None
        while (status := poll(POLL)) is None:
            now = time.monotonic()
            late = late or (not stopped and seconds is not None and now - begun > seconds)
            stopped = stopped or (not late and self.should_stop())
            if not (late or stopped):
                continue
            if told is None:
                # Not there yet: the child has not come to lead its own group; it is told the next time.
                told = now if _kill_group(pid, signal.SIGTERM) else None
            elif now - told > PATIENCE:
                _kill_group(pid, signal.SIGKILL)
        return Ending(status, late, stopped)

    def _spawn(
        self, overrides: Sequence[str], log: Path, variables: dict[str, str]
    ) -> tuple[int, Callable[[float], int | None]]:
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", self.program, *overrides],
                env=self._environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def poll(seconds: float) -> int | None:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(seconds)
            return None

        return child.pid, poll

    def _fork(
        self, cfg: Config, overrides: Sequence[str], log: Path, variables: dict[str, str]
    ) -> tuple[int, Callable[[float], int | None]]:
        zygote = self._living_zygote()
        stdin, stdout = zygote.stdin, zygote.stdout
        assert stdin is not None
        assert stdout is not None
        job = {
            "cfg": base64.b64encode(pickle.dumps(cfg)).decode(),
            "argv": list(overrides),
            "log": str(log),
            "env": variables,
        }
        stdin.write(json.dumps(job).encode() + b"\n")
        pid = self._number(stdout)

        def poll(seconds: float) -> int | None:
            ready, _, _ = select.select([stdout], [], [], seconds)
            return self._number(stdout, default=-signal.SIGKILL) if ready else None

        return pid, poll

    def _number(self, stream: IO[bytes], default: int | None = None) -> int:
        line = stream.readline()
        if line:
            return int(line)
        self.close()
        if default is None:
            raise RuntimeError(f"the process that runs are forked from ended; see {self.log}")
        return default  # killed together with its child

    def _living_zygote(self) -> "subprocess.Popen[bytes]":
        if self.zygote is not None and self.zygote.poll() is not None:
            self.close()
        if self.zygote is None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as output:
                self.zygote = subprocess.Popen(
                    [sys.executable, "-m", "capsbench.studies.zygote", self.program],
                    env=self._environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    bufsize=0,
                    start_new_session=True,
                )
        return self.zygote

    def _environment(self) -> dict[str, str]:
        inherited: dict[str, Any] = {n: v for n, v in os.environ.items() if not n.startswith(NOT_INHERITED)}
        return inherited | self.environment | {PARENT: str(os.getpid())}


def _kill_group(leader: int, number: int) -> bool:
    """Signal a child's process group; False where there is none."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
