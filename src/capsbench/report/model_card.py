"""A model card for the best arm (Mitchell et al. 2019): what it is, what it was trained on, how good it is, its limits.

The best arm is the one with the highest mean validation accuracy: the test set chooses nothing, not even this.
"""

import math
from collections.abc import Mapping
from typing import Any

from capsbench.report.analysis import Analysis, ArmSummary
from capsbench.report.collect import AFFINE, RunRecord
from capsbench.report.concerns import concerns
from capsbench.report.html import reproduction
from capsbench.report.statistics.intervals import spread, summarize
from capsbench.report.tables.arms import CHECKPOINT_NAMES
from capsbench.report.tables.table import markdown_text
from capsbench.report.verdicts import sentence

VALIDATION = {"last": "val/accuracy", "selected": "val_selected/accuracy"}
TRAINING_KEYS = ("optimizer", "loss", "trainer")
UNSAID = ("progress", "threads", "log_every", "checkpoint_minutes", "eval_batch_size")


def model_card(analysis: Analysis) -> str | None:
    """The card as Markdown; None where no arm has finished with a validation accuracy."""
    best = best_arm(analysis)
    if best is None:
        return None
    runs, sweep = best.runs, analysis.ablation.sweep
    run = runs.done[0]
    parts = [
        f"# Model card: {markdown_text(runs.arm.label)}",
        f"The arm of the sweep {markdown_text(sweep.name)} with the highest mean validation accuracy "
        f"({len(runs.done)} runs finished). The test set did not choose it.",
        _section("Model", _model(run)),
        _section("Data", _data(run)),
        _section("Training", _training(run)),
        _section("Numbers", _numbers(best, analysis)),
        _section("Compared with the other arms", _comparisons(best, analysis)),
        _section("Limits", _limits(best, analysis)),
        _section("Use", [f"from capsbench import load_run; model = load_run({_folder(run)!r})"], code=True),
        _section(
            "Reproduce", [f"{name}: {value}" for name, value in [*reproduction(analysis.ablation), *_command(run)]]
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def best_arm(analysis: Analysis) -> ArmSummary | None:
    """The arm with the highest mean validation accuracy at the sweep's checkpoint, the first of equals."""
    name = VALIDATION[analysis.ablation.sweep.checkpoint]
    found = {key: arm.runs.values(name) for key, arm in analysis.arms.items()}
    scores = {key: float(values.mean()) for key, values in found.items() if values.size}
    return analysis.arms[max(scores, key=lambda key: scores[key])] if scores else None


def _model(run: RunRecord) -> list[str]:
    metrics = run.metrics
    facts = [f"{name}: {value}" for name, value in _flat(run.config.get("model") or {})]
    if "cost/parameters" in metrics:
        facts.insert(0, f"parameters: {metrics['cost/parameters']:,.0f}")
    if "cost/macs" in metrics:
        facts.insert(1, f"multiply-accumulates of an image: {metrics['cost/macs']:,.0f}")
    return facts


def _data(run: RunRecord) -> list[str]:
    return [
        *(f"{name}: {value}" for name, value in _flat(run.config.get("data") or {}) if value is not None),
        f"test images: {run.test_images:,}, used once, after training",
    ]


def _training(run: RunRecord) -> list[str]:
    facts = []
    for group in TRAINING_KEYS:
        for name, value in _flat(run.config.get(group) or {}):
            if value is not None and name not in UNSAID:
                facts.append(f"{group}.{name}: {value}")
    return facts


def _numbers(arm: ArmSummary, analysis: Analysis) -> list[str]:
    sweep, facts = analysis.ablation.sweep, []
    if arm.error is not None and arm.wilson is not None:
        low, high = arm.wilson if math.isnan(arm.error.low) else (max(arm.error.low, 0.0), min(arm.error.high, 100.0))
        kind = "Wilson, one run" if math.isnan(arm.error.low) else "t-interval over seeds"
        what = "affine error" if sweep.metric == AFFINE else "test error"
        checkpoint = CHECKPOINT_NAMES[sweep.checkpoint]
        facts.append(f"{what} ({checkpoint}): {arm.error.mean:.3f} %, 95 % [{low:.3f}, {high:.3f}] ({kind})")
        facts.append(f"errors by seed: {', '.join(map(str, arm.counts.values()))} of {arm.images:,}")
    for name, metric in (
        ("validation accuracy", VALIDATION[sweep.checkpoint]),
        ("accuracy on affNIST-like images", "affine/accuracy"),
        ("expected calibration error", "test/ece"),
    ):
        values = arm.runs.values(metric)
        if values.size:
            found = summarize(100 * values)
            # A share lies between 0 and 100 %, though a t-interval of few seeds may not.
            interval = f", 95 % [{max(found.low, 0):.2f}, {min(found.high, 100):.2f}]" if found.count > 1 else ""
            facts.append(f"{name}: mean {found.mean:.2f} %{interval}")
    for name, metric, unit in (
        ("training time", "time/train_seconds", "s"),
        ("peak memory", "cost/peak_memory_mb", "MB"),
    ):
        values = arm.runs.values(metric)
        if values.size:
            middle = spread(values)
            quartiles = f" [{middle.lower_quartile:.4g}, {middle.upper_quartile:.4g}]" if middle.count > 1 else ""
            facts.append(f"{name}: median{' [quartiles]' if quartiles else ''} {middle.median:.4g}{quartiles} {unit}")
    return facts


def _comparisons(arm: ArmSummary, analysis: Analysis) -> list[str]:
    name = arm.runs.name
    return [sentence(pair, analysis.ablation).text for pair in analysis.declared if name in (pair.a, pair.b)]


def _limits(arm: ArmSummary, analysis: Analysis) -> list[str]:
    data = arm.runs.done[0].config.get("data") or {}
    name = data.get("name") or "its data set"
    facts = [
        f"It was trained and tested on {name} alone; nothing is known of other images.",
        "Intervals over seeds say how training varies, not how other test images would come out.",
    ]
    if arm.canary is not None and arm.error is not None and arm.error.count < 5:
        facts.append(f"{arm.error.count} seeds are too few to know the spread of training.")
    values = arm.runs.values("affine/accuracy")
    if values.size:
        facts.append(f"Of images turned, sheared, scaled and shifted, {100 - 100 * values.mean():.1f} % are wrong.")
    return [*facts, *concerns(analysis.ablation)]


def _command(run: RunRecord) -> list[tuple[str, str]]:
    command = run.provenance.get("command")
    return [("command that made its first run", str(command))] if command else []


def _folder(run: RunRecord) -> str:
    return "/".join(run.path.parts[-4:]) if run.path else ""


def _section(title: str, facts: list[str], *, code: bool = False) -> str:
    if not facts:
        return ""
    lines = [f"    {fact}" for fact in facts] if code else [f"- {markdown_text(fact)}" for fact in facts]
    return f"## {title}\n\n" + "\n".join(lines)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found
