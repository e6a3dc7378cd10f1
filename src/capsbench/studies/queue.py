"""A study as a queue on shared storage: who works on what, who died, what is to be done again.

Trials are numbered in one order that all processes agree on, and that is what decides between two workers: nothing here
needs a lock. A worker that dies leaves its trial RUNNING; whoever looks next finds the sign of life gone, marks the
trial FAIL and queues the same run again, which then goes on from its own checkpoint because its folder is the same.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsbench.processes import is_gone, is_here
from capsbench.studies.ledger import KEY, Ledger
from capsbench.studies.plan import Planned

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

# Attributes of a trial.
ARM, SEED = "arm", "seed"
WORKER, BEAT, FOLDERS, OVERRIDES = "worker", "beat", "folders", "overrides"
TRIES, RETRY_OF, ERROR, SURPLUS, INTERRUPTED = "tries", "retry_of", "error", "surplus", "interrupted"
KEPT_ON_RETRY = (KEY, ARM, SEED, "baseline")
STOP_PREFIX = "stop:"


def enqueue_runs(study: "Study", runs: Sequence[Planned]) -> int:
    """Queue the runs that nobody has queued or works on; returns how many were added."""
    from optuna.trial import TrialState

    active = {
        trial.user_attrs.get(KEY)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
    }
    missing = [run for run in runs if run.key not in active]
    for run in missing:
        study.enqueue_trial({}, user_attrs={KEY: run.key, ARM: run.arm, SEED: run.seed})
    return len(missing)


def take(ledger: Ledger) -> "Trial | None":
    """Start the first run in the queue; None when the queue is empty."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import Trial, TrialState

    study = ledger.look().study
    while ledger.waiting:
        first = ledger.trials[ledger.waiting[0]]
        try:
            ours = study._storage.set_trial_state_values(first._trial_id, state=TrialState.RUNNING)
        except UpdateFinishedTrialError:
            ours = False
        ledger.look()
        if ours:
            return Trial(study, first._trial_id)
    return None


def older_states(ledger: Ledger, trial: "FrozenTrial") -> set["TrialState"]:
    """States of the older trials of the same run: two sweeps that start together may queue a run twice."""
    numbers = ledger.look().by_key[trial.user_attrs[KEY]]
    return {ledger.read(number).state for number in numbers if number < trial.number}


def counted(study: "Study") -> int:
    """Trials of a search that count towards its total: complete or pruned."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def is_within_total(ledger: Ledger, number: int, total: int) -> bool:
    """Whether fewer than `total` older trials are done, running or waiting: at most `total` trials ever pass this."""
    return ledger.look().older_than(number) < total


def give_back(study: "Study", trial: "Trial") -> None:
    """End a trial that was one too many; it counts neither as done nor as failed."""
    from optuna.trial import TrialState

    trial.set_user_attr(SURPLUS, True)
    study.tell(trial, state=TrialState.FAIL)


def reap(ledger: Ledger, *, grace: float, max_retries: int) -> list[str]:
    """Take trials away from dead workers and queue them again.

    Returns:
        One line for each.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    lines = []
    study = ledger.look().study
    for trial in [ledger.trials[number] for number in sorted(ledger.running)]:
        worker = trial.user_attrs.get(WORKER, {})
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        silence = time.time() - trial.user_attrs.get(BEAT, started)
        # A process of this machine can be seen. Its signs of life stop with it while the machine sleeps.
        if not (is_gone(worker) if is_here(worker) else silence >= grace):
            continue
        where = f"process {worker.get('pid', '?')} on {worker.get('host', '?')}"
        tries = int(trial.user_attrs.get(TRIES, 0)) + 1
        try:
            if tries > max_retries:
                study._storage.set_trial_user_attr(trial._trial_id, ERROR, f"{where} was lost with it, {tries} times")
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, RuntimeError, UpdateFinishedTrialError):
            continue  # somebody else was faster
        again = requeue(study, trial, max_retries=max_retries)
        lines.append(f"trial {trial.number} was left behind by {where}; {'queued again' if again else 'given up'}")
    return lines


def requeue_forgotten(ledger: Ledger, keys: Sequence[str], *, max_retries: int) -> int:
    """Queue again what was taken from a dead worker by a process that died, too, before it was queued again.

    Args:
        ledger: an ablation's study in which nothing waits and nothing runs.
        keys: runs that are not done and have not failed.
        max_retries: how often a run may be queued again.

    Returns:
        How many were queued.
    """
    ledger.look()
    queued = 0
    for key in keys:
        trials = [ledger.trials[number] for number in ledger.by_key.get(key, [])]
        last = next((trial for trial in reversed(trials) if SURPLUS not in trial.user_attrs), None)
        if last is not None and last.state.name == "FAIL" and ERROR not in last.user_attrs:
            queued += requeue(ledger.study, last, max_retries=max_retries)
    return queued


def requeue(study: "Study", trial: "FrozenTrial", *, max_retries: int, blame: bool = True) -> bool:
    """Queue a trial's run again with the same parameters.

    Args:
        study: where it is queued.
        trial: the trial as it stood.
        max_retries: how often a run may be queued again because its process died.
        blame: whether this counts as such; being interrupted by a person does not.

    Returns:
        False when it has been tried often enough.
    """
    tries = int(trial.user_attrs.get(TRIES, 0)) + int(blame)
    if tries > max_retries:
        return False
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    attrs = {name: trial.user_attrs[name] for name in KEPT_ON_RETRY if name in trial.user_attrs}
    if not params and KEY not in attrs:
        return True  # nothing had been drawn yet; the sampler draws another
    study.enqueue_trial(params, user_attrs={**attrs, TRIES: tries, RETRY_OF: trial.number})
    return True


def ask_to_stop(study: "Study", session: str) -> None:
    """Tell the workers of a session, wherever they are, to stop at their next beat."""
    study.set_user_attr(f"{STOP_PREFIX}{session}", True)


def told_to_stop(study: "Study", session: str) -> bool:
    """Whether the session was asked to stop."""
    return bool(study.user_attrs.get(f"{STOP_PREFIX}{session}"))


def failures(ledger: Ledger, session: str) -> list["FrozenTrial"]:
    """Trials that failed by themselves in this session."""
    found = [ledger.trials[number] for number in ledger.look().failed]
    return [
        trial
        for trial in found
        if ERROR in trial.user_attrs and trial.user_attrs.get(WORKER, {}).get("session") == session
    ]
