"""A process that has imported everything a run needs and is forked for each run: milliseconds instead of seconds.

It computes nothing itself (a forked OpenMP or CUDA would hang) and lives as long as its worker. One line of JSON in:
    {"cfg": pickled configuration in base64, "argv": [...], "log": path, "env": {...}}
two lines out: the child's process number, then its exit status (negative: the signal that killed it).
"""

import base64
import contextlib
import gc
import importlib
import json
import logging
import os
import pickle
import signal
import sys
import traceback
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.processes import die_with_parent


def main() -> None:
    """Serve until the worker closes its end or dies."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    program = importlib.import_module(sys.argv[1])
    program.warm_up()
    gc.collect()
    gc.freeze()  # the children share these pages as long as nobody writes to them
    for line in sys.stdin:
        job = json.loads(line)
        with contextlib.suppress(OSError):  # a full disk takes no last words
            sys.stdout.flush()
            sys.stderr.flush()
        zygote = os.getpid()
        child = os.fork()
        if child == 0:
            _child(program, job, zygote)
        print(child, file=answers)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers)


def _child(program: Any, job: dict[str, Any], zygote: int) -> None:
    """Carry out one run in this process and leave it; never returns."""
    status = 1
    try:
        os.setsid()
        die_with_parent(zygote)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        os.environ.update(job["env"])
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # Lightning starts the other processes of a run on several devices by running these arguments again.
        sys.argv = [program.__file__, *job["argv"]]
        sys.modules["__main__"].__spec__ = None
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        program.execute(pickle.loads(base64.b64decode(job["cfg"])))  # noqa: S301 - written by our own worker
        status = 0
    except CapsbenchError as error:
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the zygote's open files and exit handlers are not this process's to close.
        os._exit(status)


if __name__ == "__main__":
    main()
