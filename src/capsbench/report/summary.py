"""A report in a screenful of text, for the terminal."""

from capsbench.report.analysis import Analysis
from capsbench.report.concerns import concerns
from capsbench.report.html import status_line
from capsbench.report.tables.arms import arms_table
from capsbench.report.verdicts import sentence

# Arm, seeds, error, interval, errors by seed: what fits on a line.
COLUMNS = 5
WIDEST = 40


def summary_text(analysis: Analysis) -> str:
    """Status, errors per arm, a sentence per declared comparison, and what to know before believing them."""
    ablation = analysis.ablation
    table = arms_table(analysis)
    rows = [[column.header for column in table.columns[:COLUMNS]]]
    rows += [[_line(cell.text) for cell in row[:COLUMNS]] for row in table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(COLUMNS)]
    lines = [f"{_line(ablation.sweep.title, 100)}: {status_line(ablation)}", ""]
    lines += ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *(f"* {_line(sentence(pair, ablation).text, 200)}" for pair in analysis.declared)]
    weak = concerns(ablation)
    if weak:
        lines += ["", "Before you believe this:", *(f"! {_line(text, 200)}" for text in weak)]
    return "\n".join(lines) + "\n"


def _line(text: str, width: int = WIDEST) -> str:
    shown = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return shown if len(shown) <= width else shown[: width - 1] + "…"
