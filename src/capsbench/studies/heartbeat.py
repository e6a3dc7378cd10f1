"""Signs of life of a worker, and its ear for being told to stop."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from capsbench.studies import queue
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)


class Heartbeat:
    """Signs of life of a worker's trial, and an ear for being told to stop; a thread beside the loop."""

    def __init__(self, study: "Study", spec: Spec) -> None:
        self.study, self.spec = study, spec
        self.trial: Trial | None = None
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Heartbeat":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.thread.join()

    @contextmanager
    def of(self, trial: "Trial") -> Iterator[None]:
        """While inside, the trial is shown to be alive."""
        self.trial = trial
        try:
            yield
        finally:
            self.trial = None

    def _run(self) -> None:
        beaten = time.monotonic()
        while not self.end.wait(min(1.0, self.spec.heartbeat)):
            if time.monotonic() - beaten < self.spec.heartbeat:
                continue
            beaten = time.monotonic()
            try:
                self._beat()
            except Exception as error:  # a hiccup of the storage must not end a run
                log.warning("no sign of life could be given: %s", error)

    def _beat(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        trial = self.trial
        if trial is not None:
            with suppress(UpdateFinishedTrialError):
                trial.set_user_attr(queue.BEAT, time.time())
        if queue.told_to_stop(self.study, self.spec.session):
            STOP.set()
