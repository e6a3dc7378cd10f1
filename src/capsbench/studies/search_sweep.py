"""A search carried out: trials that a sampler draws, up to a total."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from capsbench.compose import compose
from capsbench.config import run_hash
from capsbench.errors import CapsbenchError
from capsbench.studies import queue
from capsbench.studies.choices import pick_sampler
from capsbench.studies.crew import work_off
from capsbench.studies.ledger import Ledger
from capsbench.studies.options import Options, make_spec
from capsbench.studies.outcome import trial_outcome
from capsbench.studies.search_file import Search
from capsbench.studies.space import as_json, grid_size, is_sweep, parse_space
from capsbench.studies.stopping import STOP
from capsbench.studies.study import create_study
from capsbench.studies.trial_runs import ARM
from capsbench.studies.watch import Watch

if TYPE_CHECKING:
    from hydra.types import HydraContext
    from optuna import Study
    from optuna.trial import FrozenTrial

SAME_DESIGN = ("space", "conditions", "objectives", "constraints", "seeds", "base")


class SearchSweep:
    """Trials that a sampler draws, up to a total."""

    def __init__(self, design: Search, overrides: Sequence[str], options: Options, launcher: str) -> None:
        self.options, self.design = options, design
        params = dict(design.params)
        fixed = [text for text in overrides if not is_sweep(text)]
        for text in overrides:
            key, _, value = text.partition("=")
            if is_sweep(text):
                params[key.lstrip("+")] = value
            else:
                params.pop(key.lstrip("+"), None)
        if not params:
            raise CapsbenchError(f"{design.name}: nothing is left to search; every parameter was given a value")
        self.space = parse_space(params)
        group = options.study or design.group
        base = (*design.base, f"run.group={group}", "trainer.progress=false", *fixed)
        cfg = compose([*base, f"run.arm={ARM}"])
        total = options.trials or design.trials
        conditional = bool(self.space.conditions)
        sampler = {
            **design.sampler,
            "name": pick_sampler(design.sampler["name"], trials=total, conditional=conditional),
        }
        size = grid_size(self.space.distributions.values())
        if sampler["name"] == "brute":
            if size is None:
                raise CapsbenchError(f"{design.name}: sampler=brute needs choices and ranges only, not intervals")
            if not conditional:
                total = min(total, size)
        self.base_hash = run_hash(cfg)
        self.spec = make_spec(
            options, launcher, (Path(cfg.run.root) / group).absolute(), group, devices=cfg.trainer.devices,
            kind="search", total=total, fixed=base, space=as_json(self.space), conditions=self.space.conditions,
            objectives=design.objectives, constraints=design.constraints, seeds=design.seeds, sampler=sampler,
            pruner=design.pruner,
        )  # fmt: skip
        # Failed trials are replaced by others: where every one fails, the search would never end.
        if options.max_failures is None:
            self.spec = replace(self.spec, max_failures=total)

    def run(self, config: DictConfig, context: "HydraContext") -> int:
        """Carry out the trials that are left; returns the exit status."""
        from capsbench.studies.summary import TOTAL, summary_text, write_summary

        study = create_study(self.spec)
        self.refuse_changes(study)
        study.set_user_attr(TOTAL, self.spec.total)
        for point in self.design.enqueue:
            study.enqueue_trial(point, user_attrs={"baseline": True}, skip_if_exists=True)
        queue.reap(Ledger(study), grace=self.spec.grace, max_retries=self.spec.max_retries)
        done = queue.counted(study)
        print(
            f"{self.spec.total} trials, {done} of them there already; sampler {self.spec.sampler['name']}", flush=True
        )
        if done < self.spec.total:
            with Watch(self.spec, self.spec.total, done, self.line, self.name):
                work_off(study, self.spec, self.options.workers, config, context)
        print(summary_text(write_summary(study, self.design, Path(self.spec.folder))))
        short = queue.counted(study) < self.spec.total and "exhausted" not in study.user_attrs
        return 1 if short and not STOP.is_set() else 0

    def refuse_changes(self, study: "Study") -> None:
        """A study whose trials mean something else cannot be continued.

        Raises:
            CapsbenchError: naming what has changed.
        """
        values = {
            "space": self.spec.space,
            "conditions": self.spec.conditions,
            "objectives": self.spec.objectives,
            "constraints": self.spec.constraints,
            "seeds": list(self.spec.seeds),
            "base": self.base_hash,
        }
        before = study.user_attrs.get("design")
        if before is None:
            study.set_user_attr("design", values)
            study.set_metric_names(list(self.spec.objectives))
            return
        changed = [name for name in SAME_DESIGN if before[name] != values[name]]
        if changed:
            details = "; ".join(_change(name, before[name], values[name]) for name in changed)
            raise CapsbenchError(
                f"study {study.study_name} has {len(study.trials)} trials of another design ({details}). Their values "
                "do not compare with new ones. Undo the change, or start a new study beside it: "
                f"--study {study.study_name}-2"
            )

    def line(self, trial: "FrozenTrial") -> str | None:
        """What is said about a trial that has ended."""
        return trial_outcome(trial, list(self.spec.objectives))

    def name(self, trial: "FrozenTrial") -> str:
        """A running trial's name."""
        return f"trial {trial.number}"


def _change(name: str, before: Any, now: Any) -> str:
    if name == "base":
        return "other overrides for every run"
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return f"{name} of {', '.join(keys)}"
    return f"{name}: {before} became {now}"
