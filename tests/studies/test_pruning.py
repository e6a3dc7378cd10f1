"""Hopeless trials end early exactly where plain Optuna would end them: by epoch inside a run, and across seeds."""

from types import SimpleNamespace

import optuna
import pytest

from capsbench.studies.runner import Outcome
from studies.trials_by_hand import carried_out, loss

EPOCHS = 9
RATES = [0.01, 0.02, 0.09, 0.005, 0.08, 0.03, 0.07, 0.001]
TEXT = """
params: {{optimizer.lr: "interval(0.0, 0.1)"}}
enqueue: [{points}]
sampler: {{name: random, seed: 0}}
pruner: {pruner}
trials: {trials}
"""


def text(pruner):
    points = ", ".join(f"{{optimizer.lr: {rate}}}" for rate in RATES)
    return TEXT.format(points=points, pruner=pruner, trials=len(RATES))


def at(rate, epoch):
    """The curves of two rates may cross, so that it counts at which epoch a trial is judged."""
    return rate + (0.5 - 4 * rate) / (1 + epoch)


@pytest.mark.parametrize(
    ("named", "plain"),
    [
        ("{name: median, n_startup_trials: 2, n_warmup_steps: 1}", {"n_startup_trials": 2, "n_warmup_steps": 1}),
        ("{name: hyperband, min_resource: 1, max_resource: 9}", {"min_resource": 1, "max_resource": 9}),
    ],
    ids=["median", "hyperband"],
)
def test_a_run_is_pruned_by_epoch_where_plain_optuna_prunes_it(tmp_path, monkeypatch, named, plain):
    from capsbench.training.callbacks.pruning import LINKED_TRIAL, linked_pruning

    def measure(cfg, variables):
        monkeypatch.setenv(LINKED_TRIAL, variables[LINKED_TRIAL])
        callback, trainer = linked_pruning(), SimpleNamespace(should_stop=False, strategy=SimpleNamespace())
        trainer.strategy.broadcast = lambda stop, src: stop
        for epoch in range(EPOCHS):
            trainer.current_epoch, trainer.callback_metrics = epoch, {"val/loss": at(cfg.optimizer.lr, epoch)}
            callback.on_validation_end(trainer, None)
            if trainer.should_stop:
                return Outcome("pruned", callback.stopped.metrics)
        return loss(at(cfg.optimizer.lr, EPOCHS - 1))

    found = carried_out(tmp_path, text(named), measure)
    kind = optuna.pruners.MedianPruner if "median" in named else optuna.pruners.HyperbandPruner
    study = optuna.create_study(study_name="mine", pruner=kind(**plain))  # Hyperband's brackets come from the name
    for rate in RATES:
        trial = study.ask()
        for epoch in range(EPOCHS):
            trial.report(at(rate, epoch), epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, at(rate, EPOCHS - 1))
    assert [trial.params["optimizer.lr"] for trial in found] == RATES
    assert [trial.state for trial in found] == [trial.state for trial in study.trials]
    assert [trial.intermediate_values for trial in found] == [trial.intermediate_values for trial in study.trials]
    assert {trial.state.name for trial in found} == {"COMPLETE", "PRUNED"}


def test_seeds_are_pruned_by_wilcoxons_test_where_plain_optuna_prunes_them(tmp_path):
    ran = []

    def of(rate, seed):
        return rate + 0.001 * ((7 * seed) % 5) * (1 - 30 * rate)

    def measure(cfg, variables):
        assert not variables  # epochs are nobody's business here
        ran.append((cfg.optimizer.lr, cfg.seed))
        return loss(of(cfg.optimizer.lr, cfg.seed))

    seeds = range(7)
    found = carried_out(tmp_path, text("wilcoxon") + f"seeds: {list(seeds)}\n", measure)
    study = optuna.create_study(pruner=optuna.pruners.WilcoxonPruner())
    expected = []
    for rate in RATES:
        trial = study.ask()
        for seed in seeds:
            expected.append((rate, seed))
            trial.report(of(rate, seed), seed)
            if seed < len(seeds) - 1 and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, sum(of(rate, seed) for seed in seeds) / len(seeds))
    assert ran == expected
    assert [trial.state for trial in found] == [trial.state for trial in study.trials]
    assert {trial.state.name for trial in found} == {"COMPLETE", "PRUNED"}
    assert [trial.value for trial in found] == pytest.approx([trial.value for trial in study.trials])
    # What was measured until then is kept, and says why.
    pruned = next(trial for trial in found if trial.state.name == "PRUNED")
    assert len(pruned.intermediate_values) < len(seeds)
    assert "val/loss" in pruned.user_attrs["metrics"]
