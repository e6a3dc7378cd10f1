"""How a process finds out that whoever started it is gone."""

import ctypes
import os
import signal
import sys

PARENT = "CAPSBENCH_PARENT"
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let the kernel kill this process as soon as its parent ends, however it ends (Linux; elsewhere nothing happens).

    With the environment's CAPSBENCH_PARENT the parent's number is known, and a parent that has gone already is noticed.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.environ.pop(PARENT, None)
    if parent is not None and os.getppid() != int(parent):
        os._exit(1)
