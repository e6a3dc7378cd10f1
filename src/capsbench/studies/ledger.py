"""A study's trials as one process sees them: every look reads only what may have changed, however much is done.

Trials never wait again once they were started, and they are started in the order of their numbers. So a look reads
again those that were running, the front of the queue and what is new: as many as there are workers, not as many as
there are runs.
"""

from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

KEY = "key"


class Ledger:
    """The trials of a study by number.

    Attributes:
        trials: every trial as it was last seen.
        running: numbers of those that were running.
        waiting: numbers of those in the queue, first come first.
        failed: numbers of those that failed, were lost or given back, in order.
        counted: how many are complete or pruned.
        ended: numbers of those that have ended since the first look, for a reader who takes them off.
        by_key: a run's key -> numbers of its trials.
    """

    def __init__(self, study: "Study") -> None:
        self.study = study
        self.trials: list[FrozenTrial] = []
        self.running: set[int] = set()
        self.waiting: deque[int] = deque()
        self.failed: list[int] = []
        self.counted = 0
        self.ended: deque[int] = deque()
        self.by_key: dict[str, list[int]] = {}
        for trial in study.get_trials(deepcopy=False):
            self._add(trial)
        self.ended.clear()

    def look(self) -> "Ledger":
        """Read what may have changed since the last look."""
        for number in sorted(self.running):
            self._settle(self.read(number))
        while self.waiting:
            trial = self.read(self.waiting[0])
            if trial.state.name == "WAITING":
                break
            self.waiting.popleft()
            self._settle(trial)
        while (new := self._new()) is not None:
            self._add(new)
        return self

    def read(self, number: int) -> "FrozenTrial":
        """A known trial as it stands in the storage now."""
        return self.study._storage.get_trial(self.trials[number]._trial_id)

    def older_than(self, number: int) -> int:
        """How many trials before this one have not failed."""
        return number - bisect_left(self.failed, number)

    def _new(self) -> "FrozenTrial | None":
        storage = self.study._storage
        try:
            known = storage.get_trial_id_from_study_id_trial_number(self.study._study_id, len(self.trials))
        except KeyError:
            return None
        return storage.get_trial(known)

    def _add(self, trial: "FrozenTrial") -> None:
        self.trials.append(trial)
        if KEY in trial.user_attrs:
            self.by_key.setdefault(trial.user_attrs[KEY], []).append(trial.number)
        if trial.state.name == "WAITING":
            self.waiting.append(trial.number)
        else:
            self._settle(trial)

    def _settle(self, trial: "FrozenTrial") -> None:
        number = trial.number
        self.trials[number] = trial
        if not trial.state.is_finished():
            self.running.add(number)
            return
        self.running.discard(number)
        self.ended.append(number)
        if trial.state.name == "FAIL":
            insort(self.failed, number)
        else:
            self.counted += 1
