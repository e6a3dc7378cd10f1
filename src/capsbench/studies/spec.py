"""What a worker must know about a study, wherever it runs: plain values that any launcher can carry."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spec:
    """One sweep as its workers see it.

    Attributes:
        kind: `ablation` (the queue holds every run) or `search` (a sampler draws the next trial).
        folder: absolute folder of the group, where workers write their logs.
        storage: address of the Optuna storage.
        study: name of the study in it.
        session: name of this start of the sweep; a stop and a limit on failures are its own.
        program: module that carries out one run: `main(overrides)`, `execute(cfg)` and `warm_up()`.
        isolation: `fork` (children of a process that has imported everything) or `process` (a new interpreter each).
        sweeper: host, process number and start time of the process that launched the workers.
        cwd: folder from which relative paths count.
        arms: overrides of every arm of an ablation.
        total: trials of a search that are to end complete or pruned.
        fixed: overrides of every run of a search.
        space: parameter -> Optuna distribution as JSON.
        conditions: parameter -> {other parameter: values for which it exists}.
        objectives: metric -> `minimize` or `maximize`.
        constraints: metric -> largest feasible value.
        seeds: seeds of each trial of a search.
        sampler: name and arguments.
        pruner: name and arguments.
        threads: CPU threads of a run, where several workers share a machine; None leaves it to the run.
        gpus: GPUs of this machine for every worker, as CUDA_VISIBLE_DEVICES takes them; empty: as the launcher has it.
        max_failures: stop after more failed runs than this; None: never (a search: as many as it has trials).
        max_retries: how often a run whose process died is started again.
        minutes: time limit of a run.
        heartbeat: seconds between signs of life.
        grace: seconds without a sign of life after which a run's worker counts as dead.
    """

    kind: str
    folder: str
    storage: str
    study: str
    session: str
    program: str
    isolation: str
    sweeper: dict[str, Any]
    cwd: str
    arms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    total: int = 0
    fixed: tuple[str, ...] = ()
    space: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    objectives: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    sampler: dict[str, Any] = field(default_factory=dict)
    pruner: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    gpus: tuple[str, ...] = ()
    max_failures: int | None = None
    max_retries: int = 2
    minutes: float | None = None
    heartbeat: float = 10.0
    grace: float = 60.0
