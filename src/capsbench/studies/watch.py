"""What the sweeper shows while workers work: one bar for the whole sweep and one line for every finished run.

All of it is read from the study and the run folders, so it is the same wherever the workers are.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from capsbench.processes import is_gone, this_process
from capsbench.storage import JOURNAL
from capsbench.studies import queue
from capsbench.studies.ledger import Ledger
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP
from capsbench.studies.study import open_study
from capsbench.training.runs import RunFolder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

JOURNAL_SECONDS, SERVER_SECONDS = 0.3, 2.0


class Watch:
    """Watches a study from a thread of its own while the launcher has the main one.

    Args:
        spec: the study.
        total: runs or trials in all.
        done: how many of them were there before.
        line: what to print for a trial that has ended; None for nothing.
        name: what the bar shows for a running trial.
    """

    def __init__(
        self,
        spec: Spec,
        total: int,
        done: int,
        line: "Callable[[FrozenTrial], str | None]",
        name: "Callable[[FrozenTrial], str]",
    ) -> None:
        self.spec, self.total, self.done, self.line, self.name = spec, total, done, line, name
        self.study = open_study(spec)
        self.ledger = Ledger(self.study)
        self.finished = 0
        self.told = False
        self.end = threading.Event()
        self.seconds = JOURNAL_SECONDS if spec.storage.startswith(JOURNAL) else SERVER_SECONDS

    def __enter__(self) -> "Watch":
        self.bar = tqdm(
            total=self.total,
            initial=self.done,
            unit="run",
            dynamic_ncols=True,
            smoothing=0,
            mininterval=0.1 if sys.stderr.isatty() else 30.0,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.thread.join()
        self.look()
        self.bar.n = self.done + self.finished
        self.bar.close()

    def _run(self) -> None:
        while not self.end.wait(self.seconds):
            with suppress(Exception):  # a hiccup of the storage; the next look tells the same
                self.look()
                if STOP.is_set() and not self.told:
                    self.tell_workers()

    def look(self) -> None:
        """Print what has ended since the last look, and move the bar."""
        self.ledger.look()
        while self.ledger.ended:
            trial = self.ledger.trials[self.ledger.ended.popleft()]
            if trial.state.name != "FAIL" or (self.spec.kind == "ablation" and queue.ERROR in trial.user_attrs):
                self.finished += 1
            line = self.line(trial)
            if line is not None:
                tqdm.write(line, file=sys.stdout)
        running = [trial for trial in self.running() if queue.WORKER in trial.user_attrs]
        self.bar.set_postfix_str(", ".join(self.name(trial) for trial in running[:3]), refresh=False)
        done = round(self.done + self.finished + sum(map(progress, running)), 2)
        self.bar.update(done - self.bar.n)

    def running(self) -> "list[FrozenTrial]":
        """The trials that were running at the last look."""
        return [self.ledger.trials[number] for number in sorted(self.ledger.running)]

    def tell_workers(self) -> None:
        """Pass a stop on: through the storage to all workers, and at once to those on this machine."""
        queue.ask_to_stop(self.study, self.spec.session)
        here = this_process()
        self.ledger.look()
        for trial in self.running():
            worker = trial.user_attrs.get(queue.WORKER, {})
            ours = worker.get("session") == self.spec.session and worker.get("host") == here["host"]
            if ours and worker["pid"] != here["pid"] and not is_gone(worker):
                os.kill(worker["pid"], signal.SIGTERM)
        self.told = True


def progress(trial: "FrozenTrial") -> float:
    """How much of a running trial is done, from 0 to nearly 1."""
    folders = trial.user_attrs.get(queue.FOLDERS, [])
    parts = [RunFolder(Path(folder)).progress() for folder in folders]
    shares = [min(1.0, float(part["step"]) / float(part["steps"])) for part in parts if part]
    return 0.95 * sum(shares) / max(1, len(folders))
