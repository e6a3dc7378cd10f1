"""From run folders to a report on disk: index.html, tables as Markdown, CSV and LaTeX, figures as SVG and PNG."""

from collections.abc import Mapping
from pathlib import Path

from capsbench.files import write_atomic
from capsbench.report.analysis import Analysis, analyse
from capsbench.report.collect import collect
from capsbench.report.concerns import concerns
from capsbench.report.figures.plates import draw_plates
from capsbench.report.figures.style import save
from capsbench.report.html import render_html, status_line
from capsbench.report.model_card import model_card
from capsbench.report.reproduction import rebuild, reproduction
from capsbench.report.tables.arms import arms_table
from capsbench.report.tables.comparisons import comparisons_table
from capsbench.report.tables.runs import runs_table
from capsbench.report.tables.table import code_block, markdown_text, to_csv, to_latex, to_markdown
from capsbench.report.verdicts import sentence
from capsbench.sweep_file import Sweep
from capsbench.training.runs import find_runs

COMPARISONS_CAPTION = (
    "B − A: difference of the error rates, averaged over seeds and paired by image; SE over images; p by 10,000 sign "
    "flips, then after Holm over these comparisons; permutation: exact test on the seeds' error counts; two-way "
    "interval: bootstrap over seeds and images where training is unstable; could have seen: 2.8 SE, found with 80 % "
    "power."
)


def study(sweep: Sweep, root: Path, hashes: Mapping[str, str] | None = None) -> Analysis:
    """Read a sweep's runs and compute its statistics.

    Args:
        sweep: the design.
        root: folder that holds all run folders.
        hashes: the identity that each arm's configuration has now, where the caller knows it.
    """
    return analyse(collect(sweep, find_runs(root, sweep.group), hashes))


def write_report(sweep: Sweep, root: Path, out: Path, hashes: Mapping[str, str] | None = None) -> Path:
    """Write the report of a sweep, finished or not, into the folder `out`.

    Returns:
        the path of index.html.
    """
    return write_analysis(study(sweep, root, hashes), out)


def write_analysis(analysis: Analysis, out: Path) -> Path:
    """Write all files of a report, each whole or not at all, index.html last; the same runs give the same bytes."""
    table = arms_table(analysis)
    pairs = comparisons_table(analysis, analysis.declared, "Declared comparisons", COMPARISONS_CAPTION)
    plates = draw_plates(analysis)
    for plate in plates:
        save(plate, out / "figures")
    write_atomic(out / "table.md", markdown_report(analysis))
    write_atomic(out / "table.csv", to_csv(table))
    write_atomic(out / "table.tex", to_latex(table) + ("\n" + to_latex(pairs) if analysis.declared else ""))
    write_atomic(out / "comparisons.csv", to_csv(pairs))
    write_atomic(out / "runs.csv", to_csv(runs_table(analysis.ablation)))
    card = model_card(analysis)
    if card is not None:
        write_atomic(out / "model_card.md", card)
    index = out / "index.html"
    write_atomic(index, render_html(analysis, plates))
    return index


def markdown_report(analysis: Analysis) -> str:
    """Verdicts and tables as Markdown, to paste into a README or an issue."""
    ablation = analysis.ablation
    parts = [f"# {markdown_text(ablation.sweep.title)}"]
    if ablation.sweep.question:
        parts.append(markdown_text(ablation.sweep.question))
    parts.append(f"{status_line(ablation)}.")
    for pair in analysis.declared:
        said = sentence(pair, ablation)
        caveats = "".join(f"\n  - {markdown_text(caveat)}" for caveat in said.caveats)
        numbers = f"\n  {markdown_text(said.numbers)}." if said.numbers else ""
        parts.append(f"- **{markdown_text(said.text)}**{numbers}{caveats}")
    parts.append(to_markdown(arms_table(analysis)))
    if analysis.declared:
        title = "Declared comparisons"
        parts.append(to_markdown(comparisons_table(analysis, analysis.declared, title, COMPARISONS_CAPTION)))
    weak = concerns(ablation)
    if weak:
        parts.append("Before you believe this:\n\n" + "\n".join(f"- {markdown_text(text)}" for text in weak))
    facts = [f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in reproduction(ablation)]
    parts.append("Reproduce, in a clone of capsbench:\n\n" + code_block(rebuild(ablation)))
    parts.append("\n".join(facts))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"
