"""The README's results, written from the committed files of `results/` and from nothing else.

A section stands between `<!-- NAME: begin ... -->` and `<!-- NAME: end -->`; the text around it is a person's.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.report.analysis import Analysis, ArmSummary
from capsbench.report.claims_file import FILE as CLAIMS_FILE
from capsbench.report.concerns import commits, hardware, packages
from capsbench.report.engine_section import engine_section
from capsbench.report.results_check import read_checked
from capsbench.report.results_file import read_values, results_files, sweep_command
from capsbench.report.search_file import KIND as SEARCH
from capsbench.report.speed_section import speed_section
from capsbench.report.statistics.intervals import summarize
from capsbench.report.tables.cells import mean_cell, published_cell, summary_cell
from capsbench.report.tables.table import MISSING, markdown_table, markdown_text
from capsbench.report.verdicts import sentence
from capsbench.sweep_file import Published

# Sweeps with a table of their own; the others are behind the claims and in the list of files.
IN_FULL = ("table1", "fidelity")
PICTURE = "report.png"
SECTION = "<!-- {0}: begin, written by scripts/readme_results.py -->\n{1}\n<!-- {0}: end -->"
NOTHING = "Nothing has been run yet: `capsbench sweep table1 --preset cpu` is the first thing to run."
CAPTION = (
    "Ours: mean ± standard deviation over the seeds, with the 95 % t-interval of the mean (Wilson's where there is one "
    "run), at the last epoch; the test images choose nothing. *Published* numbers are others', as the source in "
    "brackets gives them, and come from longer training unless it says otherwise."
)


def with_results(readme: str, folder: Path) -> str:
    """The README with its generated sections written anew.

    Raises:
        CapsbenchError: a section's marks are missing, or a file of results contradicts itself.
    """
    sections = {
        "picture": _picture(folder / PICTURE, "A report: errors of every arm with intervals, and what differs"),
        "results": results_section(folder),
        "speed": speed_section(folder),
        "engine": engine_section(folder),
    }
    for name, text in sections.items():
        readme = _put(readme, name, text)
    return readme


def _put(readme: str, name: str, text: str) -> str:
    marks = re.compile(rf"<!-- {name}: begin[^>]*-->\n.*?<!-- {name}: end -->", re.DOTALL)
    if len(marks.findall(readme)) != 1:
        raise CapsbenchError(f"the README needs one section between <!-- {name}: begin --> and <!-- {name}: end -->")
    return marks.sub(lambda _: SECTION.format(name, text), readme)


def draw_picture(folder: Path, group: str) -> Path:
    """Draw the forest plot of a file of results as the README's picture, `report.png`.

    Raises:
        CapsbenchError: there is no such file of results, or no finished run in it.
    """
    from capsbench.report.figures.forest import forest_plate

    known = results_files(folder)
    if group not in known:
        raise CapsbenchError(f"no {group}.json in {folder}; there are: {', '.join(known) or 'none'}")
    plate = forest_plate(read_checked(known[group])[0])
    if plate is None:
        raise CapsbenchError(f"{known[group]}: no finished run to draw")
    write_atomic(folder / PICTURE, plate.png)
    return folder / PICTURE


def results_section(folder: Path) -> str:
    """Ours beside published, the claims and the list of files."""
    analyses, problems = {}, []
    for group, path in results_files(folder).items():
        analyses[group], found = read_checked(path)
        problems += found
    if problems:
        raise CapsbenchError("results that contradict themselves:\n" + "\n".join(problems))
    searches = results_files(folder, SEARCH)
    if not analyses and not searches:
        return NOTHING
    full = [analysis for analysis in analyses.values() if analysis.ablation.sweep.name in IN_FULL]
    full.sort(key=lambda analysis: (IN_FULL.index(analysis.ablation.sweep.name), analysis.ablation.sweep.group))
    parts = [CAPTION] if full else []
    parts += [_sweep_part(analysis) for analysis in full]
    if (folder / CLAIMS_FILE).exists():
        parts.append(_claims_part(read_values(folder / CLAIMS_FILE)["claims"]))
    parts += [_search_part(read_values(path), folder) for path in searches.values()]
    parts.append(_files_part(analyses, folder))
    return "\n\n".join(part for part in parts if part)


def _sweep_part(analysis: Analysis) -> str:
    ablation = analysis.ablation
    sweep = ablation.sweep
    head = f"**{markdown_text(sweep.title)}**" + (f", preset `{sweep.preset}`" if sweep.preset else "")
    affine = any("affine/accuracy" in run.metrics for run in ablation.done)
    published = any(arm.arm.published for arm in ablation.arms.values())
    header = ["arm", "ours: error %", "95 % interval", "errors by seed", "ours: error %, epoch chosen by validation"]
    header += ["affNIST-like accuracy %"] * affine + ["*published: error %*"] * published
    rows = []
    for arm in analysis.arms.values():
        row = [arm.runs.arm.label, summary_cell(arm.error, 2).text, _interval(arm), _by_seed(arm), _selected(arm)]
        row += [mean_cell(arm.runs, "affine/accuracy", 100, 1).text] * affine
        rows.append([markdown_text(cell) for cell in row] + [_published(arm.runs.arm.published)] * published)
    if len(rows) == 1:
        cells = zip(header[1:], rows[0][1:], strict=True)
        named = "; ".join(f"{name} {cell}" for name, cell in cells)
        return f"{head} ({_origin(analysis)}): {rows[0][0]}: {named}."
    lines = [f"{head} ({_origin(analysis)}):", "", *markdown_table(header, rows)]
    said = [sentence(pair, ablation).text for pair in analysis.declared if pair.paired]
    return "\n".join([*lines, *(["", markdown_text(" ".join(said))] if said else [])])


def _origin(analysis: Analysis) -> str:
    ablation = analysis.ablation
    sweep, runs = ablation.sweep, ablation.done
    versions = dict.fromkeys(packages(run.provenance).get("torch", "unknown") for run in runs)
    where = "; ".join(dict.fromkeys(hardware(run.provenance) for run in runs))
    at = ", ".join(dict.fromkeys(commit[:10] for commit in commits(runs)))
    at += " with uncommitted changes" if any(run.provenance.get("dirty") for run in runs) else ""
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    facts = (
        f"{len(runs)} of {len(ablation.planned)} runs, seeds {seeds}; commit {at}; {where}; torch {', '.join(versions)}"
    )
    return f"`{sweep_command(sweep.name, sweep.preset)}`; {markdown_text(facts)}"


def _interval(arm: ArmSummary) -> str:
    if arm.error is None or arm.wilson is None:
        return MISSING
    low, high = arm.wilson if math.isnan(arm.error.low) else (arm.error.low, arm.error.high)
    return f"{max(low, 0):.2f} to {min(high, 100):.2f}"


def _by_seed(arm: ArmSummary) -> str:
    return ", ".join(map(str, arm.counts.values())) or MISSING


def _selected(arm: ArmSummary) -> str:
    accuracy = arm.runs.values("test_selected/accuracy")
    return summary_cell(summarize(100 * (1 - accuracy)) if accuracy.size else None, 2).text


def _published(published: Published | None) -> str:
    return f"*{markdown_text(published_cell(published).text)}*" if published else MISSING


def _claims_part(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for claim in claims:
        run = [found for found in claim["findings"] if found["evidence"]]
        said = " ".join(f"{_effect(found)}{found['text']} ({found['seeds'][1]} seeds)" for found in run)
        commands = dict.fromkeys(f"`{found['command']}`" for found in run or claim["findings"])
        rows.append([markdown_text(claim["statement"]), f"**{claim['verdict']}**", markdown_text(said) or MISSING])
        rows[-1].append(", ".join(commands))
    counts = Counter(claim["verdict"] for claim in claims)
    summed = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    head = f"**What people say about capsules**, put to tests that were written down before anything ran: {summed}."
    return "\n".join([head, "", *markdown_table(["claim", "verdict", "evidence", "command"], rows)])


def _effect(found: Mapping[str, Any]) -> str:
    effect = found.get("effect")
    return f"{effect['text']} ({effect['name']}). " if effect else ""


def _search_part(values: Mapping[str, Any], folder: Path) -> str:
    """What a search of one objective found, beside the points that its file asked for."""
    objective = next(iter(values["objectives"]))
    trials = {trial["trial"]: trial for trial in values["trials"]}
    complete = [trial for trial in trials.values() if trial["state"] == "complete"]
    asked = [trial for trial in complete if trial["baseline"] and trial["trial"] not in values["best"]]
    names = list(dict.fromkeys(name for trial in complete for name in trial["params"]))
    rows = []
    for trial, what in [
        *((trials[number], "best") for number in values["best"]),
        *((one, "asked for") for one in asked),
    ]:
        drawn = [_short(trial["params"].get(name, MISSING)) for name in names]
        rows.append([f"{what}, trial {trial['trial']}", *drawn, _short(trial["values"][objective])])
    counts = Counter(trial["state"] for trial in trials.values())
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    origins = values["provenance"]
    where = "; ".join(dict.fromkeys(f"{hardware(one)}; commit {str(one.get('commit'))[:10]}" for one in origins))
    head = (
        f"**{markdown_text(values['title'])}** (`{values['command']}`; {said}; {markdown_text(where)}), by {objective}:"
    )
    header = ["configuration", *(f"`{name}`" for name in names), objective]
    picture = _picture(folder / f"{values['study']}.png", f"Report of {values['study']}")
    return "\n".join([head, "", *markdown_table(header, rows), *(["", picture] if picture else [])])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else markdown_text(str(value))


def _picture(path: Path, alt: str) -> str:
    return f"![{markdown_text(alt)}]({path.parent.name}/{path.name})" if path.exists() else ""


def _files_part(analyses: Mapping[str, Analysis], folder: Path) -> str:
    links = [
        f"[{group}]({folder.name}/{group}.json) ({len(analysis.ablation.done)} of {len(analysis.ablation.planned)})"
        for group, analysis in analyses.items()
    ]
    if not links:
        return ""
    return (
        "Numbers, verdicts and predicted classes of every run are in one file a sweep (runs done of runs planned): "
        f"{', '.join(links)}."
    )
