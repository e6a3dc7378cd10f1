"""The Optuna study behind a sweep, opened by every process that works on it or looks at it."""

from typing import TYPE_CHECKING

from capsbench.storage import open_storage
from capsbench.studies.choices import make_pruner, make_sampler
from capsbench.studies.spec import Spec

if TYPE_CHECKING:
    from optuna import Study


def create_study(spec: Spec) -> "Study":
    """The study, made if it is not there."""
    import optuna
    from optuna.study import StudyDirection

    storage = open_storage(spec.storage)
    directions = [StudyDirection[direction.upper()] for direction in spec.objectives.values()]
    optuna.create_study(study_name=spec.study, storage=storage, directions=directions, load_if_exists=True)
    return open_study(spec)


def open_study(spec: Spec, index: int = 0) -> "Study":
    """The study with the sampler of one worker, which draws differently from the others and from earlier starts."""
    import optuna
    from optuna.trial import TrialState

    storage = open_storage(spec.storage)
    study = optuna.load_study(study_name=spec.study, storage=storage, sampler=optuna.samplers.RandomSampler())
    seed = spec.sampler.get("seed")
    if seed is not None:
        seen = [trial for trial in study.get_trials(deepcopy=False) if trial.state is not TrialState.WAITING]
        seed = int(seed) + 1_000_003 * index + 7_919 * len(seen)
    if spec.kind == "search":
        study.sampler = make_sampler(spec.sampler, seed)
        study.pruner = make_pruner(spec.pruner)
    return study
