"""The comparisons' table: one row per pair of arms with all of its statistics."""

import math
from collections.abc import Callable, Sequence

from capsbench.report.analysis import Analysis, Comparison
from capsbench.report.statistics.paired import Paired
from capsbench.report.tables.arms import CHECKPOINT_NAMES
from capsbench.report.tables.table import MISSING, Cell, Column, Table
from capsbench.report.verdicts import Verdict, judge, p_text, percent_interval, signed_percent


def comparisons_table(analysis: Analysis, pairs: Sequence[Comparison], title: str, caption: str) -> Table:
    """One row per comparison; the two-way interval has a column only where a canary asked for one."""
    arms = analysis.ablation.arms
    found = _columns(pairs, title)
    columns = [column for column, _ in found]
    rows = [
        [Cell(arms[pair.a].arm.label), Cell(arms[pair.b].arm.label), *(cell(pair) for _, cell in found)]
        for pair in pairs
    ]
    headers = [Column("A", numeric=False), Column("B", numeric=False), *columns]
    return Table(title, caption, headers, rows, f"{analysis.ablation.sweep.name}-comparisons")


PairCell = Callable[[Comparison], Cell]


def _columns(pairs: Sequence[Comparison], title: str) -> list[tuple[Column, PairCell]]:
    # Exploratory pairs get no verdict: they were not asked for before the runs were made.
    declared = any(pair.declared for pair in pairs)
    first, second = f"{title}: paired by image", f"{title}: second opinions"
    columns: list[tuple[Column, PairCell]] = []
    if len({(pair.metric, pair.checkpoint) for pair in pairs}) > 1:
        columns.append((Column("errors", numeric=False), _metric_cell))
    columns += [(Column("verdict", first, numeric=False), _verdict_cell)] if declared else []
    columns += [
        (Column("B − A %", first), _paired(lambda paired: _percent_cell(paired.delta))),
        (Column("SE %", first), _paired(lambda paired: Cell(f"{100 * paired.se:.3f}", {"": 100 * paired.se}))),
        (Column("95 % interval", first), _paired(lambda paired: _interval_cell(paired.low, paired.high))),
        (Column("p", first), _paired(lambda paired: _p_cell(paired.p))),
        *([(Column("p Holm", first), lambda pair: _p_cell(pair.p_holm))] if declared else []),
        (Column("could have seen %", first), _paired(_detectable_cell)),
        (
            Column("seeds", second),
            lambda pair: Cell("{} and {}".format(*pair.seeds), dict(zip("AB", pair.seeds, strict=True))),
        ),
        (Column("permutation p", second), lambda pair: _p_cell(pair.permutation_p)),
        (Column("P(A better)", second), _better_cell),
    ]
    if any(pair.two_way for pair in pairs):
        two_way = Column("two-way interval", second)
        columns.append((two_way, lambda pair: _interval_cell(*(pair.two_way or (math.nan, math.nan)))))
    return columns


def _paired(cell: Callable[[Paired], Cell]) -> PairCell:
    return lambda pair: cell(pair.paired) if pair.paired else Cell(MISSING)


def _metric_cell(pair: Comparison) -> Cell:
    return Cell(f"{pair.metric.split('/')[0]}, {CHECKPOINT_NAMES[pair.checkpoint]}")


def _percent_cell(rate: float) -> Cell:
    return Cell(signed_percent(rate), {"": 100 * rate})


def _interval_cell(low: float, high: float) -> Cell:
    if math.isnan(low):
        return Cell(MISSING)
    return Cell(percent_interval(low, high), {"low": 100 * low, "high": 100 * high})


def _better_cell(pair: Comparison) -> Cell:
    if pair.paired is None:
        return Cell(MISSING)
    return Cell(f"{pair.probability_better:.2f}", {"": pair.probability_better})


def _detectable_cell(paired: Paired) -> Cell:
    return Cell(f"{100 * paired.smallest_detectable:.2g}", {"": 100 * paired.smallest_detectable})


def _verdict_cell(pair: Comparison) -> Cell:
    verdict = judge(pair)
    if pair.paired is None or verdict is not Verdict.worse:
        return Cell(str(verdict))
    return Cell(f"{'B' if pair.paired.delta > 0 else 'A'} worse")


def _p_cell(p: float) -> Cell:
    return Cell(MISSING) if math.isnan(p) else Cell(p_text(p).removeprefix("p ").removeprefix("= "), {"": p})
