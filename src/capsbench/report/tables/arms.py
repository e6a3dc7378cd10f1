"""The main table: one row per arm with errors, robustness, routing health and cost."""

from collections.abc import Callable

from capsbench.report.analysis import Analysis, ArmSummary, errors_key
from capsbench.report.collect import AFFINE, Ablation, RunRecord
from capsbench.report.statistics.intervals import summarize
from capsbench.report.tables.cells import count_cell, mean_cell, published_cell, summary_cell, time_cell
from capsbench.report.tables.table import MISSING, Cell, Column, Table

ACCURACY, ROBUSTNESS, ROUTING, COST = "Errors", "Robustness and calibration", "Routing health", "Cost"
# With more seeds than this the errors are in the list of runs only.
SEEDS_LISTED = 12
FACTORS = ("rotation", "scale", "shear", "translation")
CHECKPOINT_NAMES = {"last": "last epoch", "selected": "validation-selected epoch"}

ArmCell = Callable[[ArmSummary], Cell]


def arms_table(analysis: Analysis) -> Table:
    """One row per arm of the sweep, whether or not it has finished."""
    columns = _columns(analysis.ablation)
    rows = [[Cell(arm.runs.arm.label), *(cell(arm) for _, cell in columns)] for arm in analysis.arms.values()]
    return Table(
        title=analysis.ablation.sweep.title,
        caption=arms_caption(analysis.ablation),
        columns=[Column("arm", numeric=False), *(column for column, _ in columns)],
        rows=rows,
        label=analysis.ablation.sweep.name,
    )


def arms_caption(ablation: Ablation) -> str:
    """What +- is, how the checkpoint was chosen, how many seeds."""
    sweep = ablation.sweep
    seeds = f"{len(sweep.seeds)} seeds" if len(sweep.seeds) > 1 else "one seed"
    text = (
        f"Mean ± standard deviation over the finished runs of {seeds} per arm; intervals are 95 % t-intervals of the "
        f"mean (Wilson where there is one run). Checkpoint of the main column: {CHECKPOINT_NAMES[sweep.checkpoint]}; "
        "the test set selects nothing. Times are median [quartiles]; memory is the mean."
    )
    if any(arm.arm.published for arm in ablation.arms.values()):
        text += " Published numbers stand as their source gives them, with how they were obtained."
    return text


def _columns(ablation: Ablation) -> list[tuple[Column, ArmCell]]:
    sweep = ablation.sweep
    what = "affine error %" if sweep.metric == AFFINE else "test error %"
    other = "selected" if sweep.checkpoint == "last" else "last"
    columns: list[tuple[Column, ArmCell]] = [
        (Column("seeds", ACCURACY), _seeds_cell),
        (Column(f"{what} ({CHECKPOINT_NAMES[sweep.checkpoint]})", ACCURACY), lambda arm: summary_cell(arm.error, 2)),
        (Column("95 % interval", ACCURACY), _interval_cell),
        (Column("errors by seed", ACCURACY, numeric=False), _by_seed_cell),
    ]
    if sweep.metric == AFFINE:
        columns.append((Column("test error %", ACCURACY), lambda arm: _error_cell(arm, "last")))
    else:
        columns.append((Column(f"error % ({CHECKPOINT_NAMES[other]})", ACCURACY), lambda arm: _error_cell(arm, other)))
    if any(arm.arm.published for arm in ablation.arms.values()):
        columns.append(
            (Column("published", ACCURACY, numeric=False), lambda arm: published_cell(arm.runs.arm.published))
        )
    columns += [
        (Column("affine accuracy %", ROBUSTNESS), _mean("affine/accuracy", 100, 1)),
        *((Column(f"{name} AUC", ROBUSTNESS), _mean(f"affine/{name}_auc", 1, 3)) for name in FACTORS),
        (Column("ECE %", ROBUSTNESS), _mean("test/ece", 100, 2)),
    ]
    if any("routing/coupling_entropy" in run.metrics for run in ablation.done):
        columns += [
            (Column("coupling entropy (1: uniform)", ROUTING), _mean("routing/coupling_entropy", 1, 3)),
            (Column("dead primary %", ROUTING), _mean("routing/dead_primary", 100, 1)),
            (Column("static primary %", ROUTING), _mean("routing/static_primary", 100, 1)),
            (Column("dead class %", ROUTING), _mean("routing/dead_class", 100, 1)),
        ]
    target = 100 * target_accuracy(ablation.done)
    columns += [
        (Column("parameters", COST), lambda arm: count_cell(arm.runs, "cost/parameters", 1, 0)),
        (Column("MACs (M)", COST), lambda arm: count_cell(arm.runs, "cost/macs", 1e-6, 1)),
        (Column("seconds / epoch", COST), lambda arm: time_cell(arm.runs, "time/seconds_per_epoch")),
        (Column("images / s", COST), lambda arm: time_cell(arm.runs, "time/images_per_second")),
        (Column(f"seconds to {target:g} % validation", COST), _target_cell),
        (Column("peak memory (MB)", COST), _mean("cost/peak_memory_mb", 1, 0)),
    ]
    return columns


def target_accuracy(runs: list[RunRecord]) -> float:
    """Validation accuracy whose time-to-reach the runs recorded."""
    targets = [run.config.get("evaluation", {}).get("target_accuracy") for run in runs]
    return next((float(target) for target in targets if target), 0.99)


def _mean(name: str, factor: float, decimals: int) -> ArmCell:
    return lambda arm: mean_cell(arm.runs, name, factor, decimals)


def _seeds_cell(arm: ArmSummary) -> Cell:
    done, planned = len(arm.runs.done), len(arm.runs.planned)
    text = str(done) if done == planned else f"{done} of {planned}"
    return Cell(text, {"done": done, "planned": planned})


def _interval_cell(arm: ArmSummary) -> Cell:
    if arm.error is None or arm.wilson is None:
        return Cell(MISSING)
    low, high = arm.wilson if arm.error.count < 2 else (arm.error.low, arm.error.high)
    # An error rate lies between 0 and 100 %, though a t-interval of few seeds may not.
    text = f"[{max(low, 0):.2f}, {min(high, 100):.2f}]" + (" (Wilson)" if arm.error.count < 2 else "")
    return Cell(text, {"low": low, "high": high})


def _by_seed_cell(arm: ArmSummary) -> Cell:
    counts = list(arm.counts.values())
    if len(counts) > SEEDS_LISTED:
        return Cell(f"{min(counts)} to {max(counts)}")
    return Cell(", ".join(map(str, counts)) or MISSING)


def _error_cell(arm: ArmSummary, checkpoint: str) -> Cell:
    key = errors_key("test/errors", checkpoint)
    accuracy = arm.runs.values(key.replace("errors", "accuracy"))
    return summary_cell(summarize(100 * (1 - accuracy)) if accuracy.size else None, 2)


def _target_cell(arm: ArmSummary) -> Cell:
    reached, done = arm.runs.values("time/seconds_to_target").size, len(arm.runs.done)
    if not done:
        return Cell(MISSING)
    if not reached:
        return Cell("not reached")
    cell = time_cell(arm.runs, "time/seconds_to_target")
    return cell if reached == done else Cell(f"{cell.text} ({reached} of {done} runs)", cell.numbers)
