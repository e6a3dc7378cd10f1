"""What two arms were measured on and with: data, budget, sizes, machine, in one line."""

from collections.abc import Iterable
from typing import Any

from capsbench.report.collect import ArmRuns, RunRecord
from capsbench.report.concerns import hardware


def setting(arms: Iterable[ArmRuns]) -> str:
    """Data set, training images, epochs or steps, test images, parameters and machine of the arms' finished runs."""
    arms = [arm for arm in arms if arm.done]
    runs = [arm.done[0] for arm in arms]
    facts = [*_distinct(_data(run) for run in runs), *_distinct(_budget(run) for run in runs)]
    facts += _distinct(f"{run.test_images:,} test images" if run.test_images else "" for run in runs)
    sizes = [
        f"{arm.arm.label} {run.metrics['cost/parameters']:,.0f}"
        for arm, run in zip(arms, runs, strict=True)
        if "cost/parameters" in run.metrics
    ]
    facts += [f"parameters: {', '.join(sizes)}"] if sizes else []
    facts += _distinct(hardware(run.provenance) for arm in arms for run in arm.done)
    return "; ".join(facts)


def _data(run: RunRecord) -> str:
    data = run.config.get("data") or {}
    name = data.get("name")
    if not name:
        return ""
    count = data.get("train_images")
    return f"{name}, {'all' if count is None else f'{count:,}'} training images"


def _budget(run: RunRecord) -> str:
    trainer: dict[str, Any] = run.config.get("trainer") or {}
    if trainer.get("steps"):
        return f"{trainer['steps']:,} steps"
    return f"{trainer['epochs']:,} epochs" if trainer.get("epochs") else ""


def _distinct(facts: Iterable[str]) -> list[str]:
    """Facts that the arms share once, others joined by `and`."""
    found = [fact for fact in dict.fromkeys(facts) if fact]
    return [" and ".join(found)] if found else []
