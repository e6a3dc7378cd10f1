"""Processes by more than their numbers, and how one finds out that whoever started it is gone."""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

PARENT = "CAPSBENCH_PARENT"
PR_SET_PDEATHSIG = 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Seconds by which a corrected clock may shift a process's start, where the system counts it by the clock.
START_TOLERANCE = 2.0


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process as soon as its parent ends, however it ends (Linux; elsewhere nothing happens).

    Args:
        parent: the parent's number, by which one that has gone already is noticed; by default that of the
            environment's CAPSBENCH_PARENT, if there is one.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    named = os.environ.pop(PARENT, None)
    expected = parent if parent is not None or named is None else int(named)
    if expected is not None and os.getppid() != expected:
        os._exit(1)


def this_process() -> dict[str, Any]:
    """What together names this process for good: host and its start, process number and its start."""
    return dict(_identity(os.getpid()))


def is_here(process: Mapping[str, Any]) -> bool:
    """Whether a process that `this_process` named belongs to this machine, as it was last started."""
    return process.get("host") == socket.gethostname() and process.get("boot") in (None, _boot())


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether a process of this machine has ended; False for one elsewhere, of which only signs of life can tell.

    A number alone does not name a process: after a restart, above all of a container, another one has it. The time of
    its start must fit, too, and is counted from the machine's: by the clock it changes whenever the clock is set, as
    in virtual machines that were paused, and a living process would count as gone.
    """
    import psutil

    if not is_here(process):
        return False
    try:
        found = psutil.Process(int(process.get("pid", 0)))
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        if process.get("ticks") is not None:
            return bool(process["ticks"] != _ticks(found.pid))
        created = found.create_time()
        return abs(created - float(process.get("started", created))) > START_TOLERANCE
    except psutil.AccessDenied:
        return False
    except (psutil.Error, TypeError, ValueError, OverflowError):
        return True  # it has ended, or this names none


@lru_cache(maxsize=1)
def _identity(pid: int) -> dict[str, Any]:
    import psutil

    started = psutil.Process(pid).create_time()
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "started": started, "ticks": _ticks(pid)}


@lru_cache(maxsize=1)
def _boot() -> str | None:
    """What Linux calls this start of the machine: two machines may have one name."""
    with suppress(OSError):
        return BOOT_ID.read_text().strip()
    return None


def _ticks(pid: int) -> int | None:
    """When a process was started, in clock ticks since the machine was (Linux, man 5 proc_pid_stat, field 22)."""
    with suppress(OSError):
        # Field 2 is the program's name, in brackets and with any character.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return None
