"""What is drawn is what plain Optuna draws with the same sampler, seed and values."""

import math
from contextlib import suppress

import optuna
import pytest

from capsbench.studies.choices import pick_sampler
from studies.trials_by_hand import carried_out, loss, prepared

MIXED = """
params:
  optimizer.lr: tag(log, interval(1e-4, 1e-1))
  model.dropout: interval(0.0, 0.5)
  trainer.batch_size: range(16, 129, 16)
  optimizer.schedule: choice(constant, exponential)
trials: 8
"""
FINITE = "params: {optimizer.lr: 'choice(0.001, 0.01)', trainer.batch_size: 'range(16, 49, 16)'}\ntrials: 8\n"
CONDITIONAL = """
params:
  optimizer.schedule: choice(constant, exponential, cosine)
  optimizer.decay: {space: "interval(0.5, 1.0)", when: {optimizer.schedule: [exponential]}}
  optimizer.lr: tag(log, interval(1e-4, 1e-1))
constraints: {val/accuracy: 0.5}
sampler: {name: tpe, seed: 7, n_startup_trials: 4}
trials: 12
"""


def bowl(cfg):
    late = cfg.optimizer.schedule.name == "exponential"
    return (math.log10(cfg.optimizer.lr) + 2.5) ** 2 + cfg.model.dropout + cfg.trainer.batch_size / 64 + 0.3 * late


def suggested(trial):
    lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    dropout = trial.suggest_float("model.dropout", 0.0, 0.5)
    batch = trial.suggest_int("trainer.batch_size", 16, 128, step=16)
    late = trial.suggest_categorical("optimizer.schedule", ["constant", "exponential"]) == "exponential"
    return (math.log10(lr) + 2.5) ** 2 + dropout + batch / 64 + 0.3 * late


@pytest.mark.parametrize(
    ("named", "plain"),
    [
        ("{name: tpe, seed: 3, n_startup_trials: 4}", lambda s: s.TPESampler(seed=3, n_startup_trials=4, group=True)),
        ("{name: gp, seed: 3, n_startup_trials: 4}", lambda s: s.GPSampler(seed=3, n_startup_trials=4)),
        ("{name: random, seed: 3}", lambda s: s.RandomSampler(seed=3)),
        ("{name: qmc, seed: 3}", lambda s: s.QMCSampler(seed=3, scramble=True, warn_asynchronous_seeding=False)),
    ],
    ids=["tpe", "gp", "random", "qmc"],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_draws_what_it_draws_in_plain_optuna(tmp_path, named, plain):
    found = carried_out(tmp_path, f"{MIXED}sampler: {named}\n", lambda cfg, _: loss(bowl(cfg)))
    study = optuna.create_study(sampler=plain(optuna.samplers))
    study.optimize(suggested, n_trials=8)
    assert [trial.params for trial in found] == [trial.params for trial in study.trials]
    assert [trial.value for trial in found] == pytest.approx([trial.value for trial in study.trials])
    assert len({trial.params["optimizer.lr"] for trial in found}) == 8


def test_brute_force_tries_everything_once_in_plain_optunas_order(tmp_path):
    found = carried_out(tmp_path, f"{FINITE}sampler: {{name: brute, seed: 3}}\n", lambda cfg, _: loss(cfg.optimizer.lr))
    study = optuna.create_study(sampler=optuna.samplers.BruteForceSampler(seed=3))
    for _ in found:
        trial = study.ask()
        lr = trial.suggest_categorical("optimizer.lr", [0.001, 0.01])
        trial.suggest_int("trainer.batch_size", 16, 48, step=16)
        with suppress(RuntimeError):  # Study.stop, when everything was tried
            study.tell(trial, lr)
    assert [trial.params for trial in found] == [trial.params for trial in study.trials]
    assert len({tuple(trial.params.values()) for trial in found}) == len(found) == 6


@pytest.mark.parametrize(
    ("trials", "conditional", "picked"), [(200, False, "gp"), (201, False, "tpe"), (5, True, "tpe"), (5, False, "gp")]
)
def test_auto_takes_a_gaussian_process_for_small_searches_without_conditions(trials, conditional, picked):
    assert pick_sampler("auto", trials=trials, conditional=conditional) == picked
    assert pick_sampler("qmc", trials=trials, conditional=conditional) == "qmc"


@pytest.mark.parametrize(
    ("text", "picked"),
    [
        (MIXED, "gp"),
        (MIXED.replace("trials: 8", "trials: 201"), "tpe"),
        (CONDITIONAL.replace("sampler: {name: tpe, seed: 7, n_startup_trials: 4}\n", ""), "tpe"),
        (f"{MIXED}sampler: random\n", "random"),
    ],
)
def test_a_search_uses_the_sampler_that_was_picked(tmp_path, text, picked):
    assert prepared(tmp_path, text).spec.sampler["name"] == picked


def test_constraints_and_conditions_steer_as_in_plain_optuna(tmp_path):
    from capsbench.studies.runner import Outcome

    def value(lr, decay):
        return (math.log10(lr) + 2.5) ** 2 + 4 * (decay - 0.9) ** 2

    def measure(cfg, _):
        decay = cfg.optimizer.decay if cfg.optimizer.schedule.name == "exponential" else 0.5
        # The better, the less allowed: only rates below 0.003 are feasible.
        return Outcome("done", {"val/loss": value(cfg.optimizer.lr, decay), "val/accuracy": cfg.optimizer.lr / 0.006})

    found = carried_out(tmp_path, CONDITIONAL, measure)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=7, n_startup_trials=4, group=True))
    for _ in found:
        trial = study.ask()
        schedule = trial.suggest_categorical("optimizer.schedule", ["constant", "exponential", "cosine"])
        decay = trial.suggest_float("optimizer.decay", 0.5, 1.0) if schedule == "exponential" else 0.5
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        trial.set_constraint("val/accuracy", lr / 0.006 - 0.5)
        study.tell(trial, value(lr, decay))
    assert [trial.params for trial in found] == [trial.params for trial in study.trials]
    assert {"optimizer.decay" in trial.params for trial in found} == {True, False}
    assert {trial.constraints["val/accuracy"] <= 0 for trial in found} == {True, False}
    assert study.best_trial.params["optimizer.lr"] <= 0.003
