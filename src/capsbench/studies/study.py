"""The Optuna study behind a sweep, opened by every process that works on it or looks at it."""

import time
from typing import TYPE_CHECKING

from capsbench.processes import is_gone
from capsbench.storage import open_storage
from capsbench.studies.choices import make_pruner, make_sampler
from capsbench.studies.spec import Spec

if TYPE_CHECKING:
    from optuna import Study


SESSION_PREFIX = "session:"


def create_study(spec: Spec) -> "Study":
    """The study, made if it is not there, with this start of the sweep written down in it."""
    import optuna
    from optuna.study import StudyDirection

    storage = open_storage(spec.storage)
    directions = [StudyDirection[direction.upper()] for direction in spec.objectives.values()]
    made = optuna.create_study(study_name=spec.study, storage=storage, directions=directions, load_if_exists=True)
    made.set_user_attr(f"{SESSION_PREFIX}{spec.session}", {**spec.sweeper, "at": time.time()})
    return open_study(spec)


def open_study(spec: Spec, index: int = 0) -> "Study":
    """The study with the sampler of one worker, which draws as no other of this or another living start draws."""
    import optuna
    from optuna.trial import TrialState

    storage = open_storage(spec.storage)
    study = optuna.load_study(study_name=spec.study, storage=storage, sampler=optuna.samplers.RandomSampler())
    seed = spec.sampler.get("seed")
    if seed is not None:
        seen = [trial for trial in study.get_trials(deepcopy=False) if trial.state is not TrialState.WAITING]
        seed = int(seed) + 1_000_003 * index + 7_919 * len(seen) + 15_485_863 * _sessions_before(study, spec)
    if spec.kind == "search":
        study.sampler = make_sampler(spec.sampler, seed)
        study.pruner = make_pruner(spec.pruner)
    return study


def _sessions_before(study: "Study", spec: Spec) -> int:
    """How many other starts of the sweep, earlier than this one, may still draw: two sweepers can share a search."""
    sessions = {name: of for name, of in study.user_attrs.items() if name.startswith(SESSION_PREFIX)}
    ours = sessions.pop(f"{SESSION_PREFIX}{spec.session}", None)
    return sum(ours is not None and other["at"] < ours["at"] and not is_gone(other) for other in sessions.values())
