"""Runs an ablation: every run that is not done, one after another, each in a process of its own.

The packages that a run needs are imported once, here; each run is then a fork of this process, which costs
milliseconds where a new interpreter costs eight seconds, and which can crash or run out of memory without taking the
others along. This process itself computes nothing: a forked OpenMP or CUDA would hang.
"""

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence

from tqdm import tqdm

from capsbench.errors import CapsbenchError
from capsbench.studies.plan import Planned, failed
from capsbench.training.identity import is_done
from capsbench.training.runs import State
from capsbench.training.summary import run_line

POLL_SECONDS = 0.2


def run_ablation(runs: Sequence[Planned], *, retry_failed: bool = False) -> list[Planned]:
    """Run what is not done; a run that fails does not stop the others.

    Args:
        runs: the plan.
        retry_failed: also try runs again that failed before.

    Returns:
        The runs that are failed at the end.
    """
    todo = [run for run in runs if needs_work(run, retry_failed=retry_failed)]
    done = len(runs) - len(todo)
    if not todo:
        print(f"all {len(runs)} runs are there already")
        return failed(runs)
    print(f"{len(runs)} runs, {done} of them there already", flush=True)
    import_everything()
    with tqdm(total=len(runs), initial=done, unit="run", dynamic_ncols=True, smoothing=0) as bar:
        for run in todo:
            bar.set_postfix_str(run.name)
            run_in_child(run, bar)
            bar.update()
            tqdm.write(outcome(run), file=sys.stdout)
    return failed(runs)


def needs_work(run: Planned, *, retry_failed: bool) -> bool:
    """Whether the run is to be started now."""
    state = run.folder.state
    if state is State.done:
        return not is_done(run.folder, run.cfg)
    return state is not State.failed or retry_failed


def import_everything() -> None:
    """Import what every run needs, so that the forks have it."""
    import capsbench.training.train

    del capsbench.training.train


def outcome(run: Planned) -> str:
    """One clear line for a finished run."""
    state = run.folder.state
    if state is State.done:
        return run_line(run.folder.result())
    if state is State.failed:
        return f"{run.name}: failed: {run.folder.failure()['error']} ({run.folder.path / 'train.log'})"
    return f"{run.name}: {state}; see {run.folder.path / 'train.log'}"


def run_in_child(run: Planned, bar: "tqdm[object]") -> None:
    """Fork, train, and show the child's progress on the bar until it ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _child(run)
    base = bar.n
    try:
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(POLL_SECONDS)
            progress = run.folder.progress()
            if progress:
                bar.n = base + 0.95 * progress["step"] / progress["steps"]
                bar.refresh()
    except BaseException:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    finally:
        bar.n = base


def _child(run: Planned) -> None:
    """Train in this process and leave it; never returns."""
    status = 1
    try:
        from capsbench.training.train import run as train

        run.folder.path.mkdir(parents=True, exist_ok=True)
        log = os.open(run.folder.path / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        train(run.cfg)
        status = 0
    except CapsbenchError as error:
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the parent's open files and exit handlers are not this process's to close.
        os._exit(status)
