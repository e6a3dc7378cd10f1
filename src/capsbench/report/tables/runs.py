"""The list of runs: where every one of them stands, and why some are left out."""

from capsbench.report.analysis import errors_key
from capsbench.report.collect import Ablation, RunRecord
from capsbench.report.tables.table import MISSING, Cell, Column, Table


def runs_table(ablation: Ablation) -> Table:
    """One row per run, planned or found, with its state and what is wrong with it."""
    columns = [Column(name, numeric=False) for name in ("arm", "seed", "state", "errors", "commit", "folder", "note")]
    rows = []
    for arm in ablation.arms.values():
        notes = [(run, run.reason) for run in arm.planned]
        notes += [(run, "another configuration: left out") for run in arm.conflicting]
        notes += [(run, "seed not planned: left out") for run in arm.extra]
        rows += [_run_row(arm.arm.label, run, note, ablation) for run, note in notes]
    rows += [_run_row(run.arm, run, "arm not in the sweep file: left out", ablation) for run in ablation.strangers]
    return Table("Runs", "", columns, rows, f"{ablation.sweep.name}-runs")


def _run_row(label: str, run: RunRecord, note: str, ablation: Ablation) -> list[Cell]:
    errors = run.metrics.get(errors_key(ablation.sweep.metric, ablation.sweep.checkpoint))
    commit = str(run.provenance.get("commit") or "")[:10] + ("+" if run.provenance.get("dirty") else "")
    texts = (
        label,
        str(run.seed),
        str(run.state),
        MISSING if errors is None else f"{errors:g}",
        commit or MISSING,
        "/".join(run.path.parts[-3:]) if run.path else MISSING,
        note,
    )
    return [Cell(text) for text in texts]
