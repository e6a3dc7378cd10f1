"""The runs that a trial stands for: configuration and overrides of each, and how they find their trial."""

import json
from typing import TYPE_CHECKING

from capsbench.compose import compose
from capsbench.config import Config
from capsbench.studies import queue
from capsbench.studies.choices import INSIDE_A_RUN
from capsbench.studies.plan import with_seed
from capsbench.studies.space import draw, from_json, override
from capsbench.studies.spec import Spec
from capsbench.studies.variants import Variants

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

ARM = "trial"
REMEMBERED = 100
# What capsbench.training.callbacks.pruning reads; importing it from there would import Lightning.
LINKED_TRIAL = "CAPSBENCH_TRIAL"


class TrialRuns:
    """From trials of a study to runs."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.space = from_json(spec.space, spec.conditions)
        self.variants = Variants(spec.fixed)
        self.composed: dict[tuple[str, ...], Config] = {}

    def runs_of(self, trial: "Trial", frozen: "FrozenTrial") -> list[tuple[Config, list[str]]]:
        """Configuration and overrides of each of a trial's runs; draws the parameters of a search.

        Args:
            trial: the trial, from which parameters are drawn.
            frozen: the same as it stands in the storage.
        """
        if self.spec.kind == "ablation":
            return [self.run_of(frozen)]
        chosen = draw(trial, self.space)
        drawn = [*(override(name, value) for name, value in chosen.items()), f"run.arm={ARM}"]
        cfg, overrides = self.variants.compose(drawn), [*self.spec.fixed, *drawn]
        return [(with_seed(cfg, seed), [*overrides, f"seed={seed}"]) for seed in self.spec.seeds]

    def run_of(self, trial: "FrozenTrial") -> tuple[Config, list[str]]:
        """Configuration and overrides of an ablation's run."""
        overrides, seed = self.spec.arms[trial.user_attrs[queue.ARM]], trial.user_attrs[queue.SEED]
        return with_seed(self.compose(overrides), seed), [*overrides, f"seed={seed}"]

    def compose(self, overrides: tuple[str, ...]) -> Config:
        """The configuration of some overrides; that of the last arms is remembered."""
        if overrides not in self.composed:
            if len(self.composed) > REMEMBERED:
                self.composed.clear()
            self.composed[overrides] = compose(overrides)
        return self.composed[overrides]

    def link(self, trial: "Trial") -> dict[str, str]:
        """Environment by which a run finds its trial, where a pruner wants to hear of its epochs."""
        if self.spec.pruner.get("name") not in INSIDE_A_RUN:
            return {}
        values = {
            "storage": self.spec.storage,
            "study": self.spec.study,
            "number": trial.number,
            "pruner": self.spec.pruner,
            "monitor": next(iter(self.spec.objectives)),
        }
        return {LINKED_TRIAL: json.dumps(values)}
