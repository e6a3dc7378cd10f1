"""A model card for the best arm (Mitchell et al. 2019): what it is, what it was trained on, how good it is, its limits.

The best arm is the one with the highest mean validation accuracy: the test set chooses nothing, not even this.
"""

import math
from collections.abc import Mapping
from typing import Any

from capsbench.report.analysis import Analysis, ArmSummary
from capsbench.report.collect import AFFINE, RunRecord
from capsbench.report.concerns import concerns
from capsbench.report.reproduction import rebuild, reproduction
from capsbench.report.statistics.intervals import spread, summarize
from capsbench.report.tables.arms import CHECKPOINT_NAMES
from capsbench.report.tables.table import code_block, markdown_text
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
        _section("Use", _use(run), code=True, above="From the folder that holds `runs`, with the first finished seed:"),
        _section(
            "Reproduce",
            [*rebuild(analysis.ablation), *_command(run)],
            code=True,
            above="In a clone of capsbench: all arms and the report, and, last, this arm's first seed alone.",
        ),
        "\n".join(f"- {markdown_text(f'{name}: {value}')}" for name, value in reproduction(analysis.ablation)),
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
    data = run.config.get("data") or {}
    count, held_out = data.get("train_images"), data.get("validation_images")
    training = "all training images" if count is None else f"{count:,} training images, as many of each class"
    if held_out:
        training += f", without {held_out:,} for validation"
    return [
        f"trained on {training} of {data.get('name') or 'its data set'}",
        f"tested on {run.test_images:,} test images, once, after training; they chose nothing",
        "exactly: "
        + ", ".join(f"data.{name}={value}" for name, value in _flat(data) if value is not None and name != "root"),
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
        "It was made to compare networks in research. It is no digit reader for use on people's documents.",
        f"It was trained and tested on {name} alone; nothing is known of other images.",
        "Intervals over seeds say how training varies, not how other test images would come out.",
    ]
    if arm.canary is not None and arm.error is not None and arm.error.count < 5:
        facts.append(f"{arm.error.count} seeds are too few to know the spread of training.")
    values = arm.runs.values("affine/accuracy")
    if values.size:
        facts.append(f"Of images turned, sheared, scaled and shifted, {100 - 100 * values.mean():.1f} % are wrong.")
    return [*facts, *concerns(analysis.ablation)]


def _use(run: RunRecord) -> list[str]:
    return [
        "from capsbench import load_run",
        f"model = load_run({_folder(run)!r})",
        "classes = model.predict(images)  # bytes or [0, 1], batch x channels x height x width",
    ]


def _command(run: RunRecord) -> list[str]:
    """The command of one run; runs of a sweep were told to `app.py` before, which is `capsbench train`."""
    command = str(run.provenance.get("command") or "")
    return [command.replace("app.py ", "capsbench train ", 1) if command.startswith("app.py ") else command]


def _folder(run: RunRecord) -> str:
    return "/".join(run.path.parts[-4:]) if run.path else ""


def _section(title: str, facts: list[str], *, code: bool = False, above: str = "") -> str:
    if not facts:
        return ""
    lines = code_block(facts) if code else "\n".join(f"- {markdown_text(fact)}" for fact in facts)
    return "\n\n".join(part for part in (f"## {title}", above, lines) if part)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found
