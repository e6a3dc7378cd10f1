"""Searches as an Optuna study has them, with known truths, and the record that a report reads."""

import math
from pathlib import Path

import optuna

from capsbench.report.search import SearchRecord, read_search
from capsbench.studies import queue
from capsbench.studies.search_file import Search, load_design
from capsbench.studies.summary import write_summary

FILE = """
kind: search
title: {title}
base: [model=cnn_small, trainer.epochs=5, trainer.epochs=3]
params:
  optimizer.lr: tag(log, interval(1e-4, 1e-1))
  model.dropout: interval(0.0, 0.5)
  model.pooling: choice(max, average, strided)
  optimizer.schedule: choice(constant, exponential)
  optimizer.decay: {{space: "interval(0.5, 1.0)", when: {{optimizer.schedule: exponential}}}}
objectives: {objectives}
constraints: {constraints}
enqueue: [{{optimizer.lr: 0.001, model.dropout: 0.0}}]
trials: 20
"""
PAIR = "{val/accuracy: maximize, time/train_seconds: minimize}"


def design(
    folder: Path, objectives: str = "{val/loss: minimize}", title: str = "Fake", constraints: str = "{}"
) -> Search:
    path = folder / "fake_search.yaml"
    path.write_text(FILE.format(objectives=objectives, title=title, constraints=constraints))
    found = load_design(path, folder)
    assert isinstance(found, Search)
    return found


def study_of(search: Search, complete: int, *, pruned: int = 0, failed: int = 0, error: str = "boom") -> optuna.Study:
    """Learning rates near 0.003 are best, whatever the rest is; large dropout is slow."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=list(search.objectives.values()), sampler=optuna.samplers.RandomSampler(seed=3)
    )
    for number in range(complete + pruned + failed):
        trial = study.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        dropout = trial.suggest_float("model.dropout", 0.0, 0.5)
        trial.suggest_categorical("model.pooling", ["max", "average", "strided"])
        if trial.suggest_categorical("optimizer.schedule", ["constant", "exponential"]) == "exponential":
            trial.suggest_float("optimizer.decay", 0.5, 1.0)
        drawn = [f"{name}={value}" for name, value in trial.params.items()]
        trial.set_user_attr(queue.OVERRIDES, [*search.base, "run.group=g", *drawn, "run.arm=trial", "seed=0"])
        loss = 0.05 + (math.log10(lr) + 2.5) ** 2
        values = {"val/loss": loss, "val/accuracy": 1 - loss, "time/train_seconds": 10 + 100 * dropout}
        trial.set_user_attr("metrics", {**values, "test/errors": 77.0})
        for name, bound in search.constraints.items():
            trial.set_constraint(name, values[name] - bound)
        if number < complete:
            study.tell(trial, [values[name] for name in search.objectives])
        elif number < complete + pruned:
            trial.report(loss, 0)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            trial.set_user_attr(queue.ERROR, error)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study


def record(folder: Path, search: Search, *counts: int, **more: int | str) -> SearchRecord:
    return read_search(write_summary(study_of(search, *counts, **more), search, folder))  # type: ignore[arg-type]
