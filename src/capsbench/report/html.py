"""One page that holds the whole report: no script, no network, readable in the dark, on a phone and on paper."""

import base64
import shlex
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from capsbench.report.analysis import Analysis
from capsbench.report.collect import Ablation, RunState
from capsbench.report.concerns import concerns
from capsbench.report.figures.style import Plate
from capsbench.report.reproduction import rebuild, reproduction, sweep_words
from capsbench.report.tables.arms import CHECKPOINT_NAMES, arms_caption, arms_table
from capsbench.report.tables.comparisons import comparisons_table
from capsbench.report.tables.runs import runs_table
from capsbench.report.verdicts import sentence

RUNS_SHOWN_OPEN = 60


@dataclass(frozen=True)
class Picture:
    """A plate ready to be put into the page; its width in inches keeps letters equally large in all pictures."""

    name: str
    title: str
    caption: str
    alt: str
    source: str
    inches: float


def render_html(analysis: Analysis, plates: list[Plate]) -> str:
    """The report as one HTML document; all text from configurations is escaped."""
    ablation = analysis.ablation
    comparisons = comparisons_table(analysis, analysis.declared, "Declared comparisons", "")
    exploratory = comparisons_table(analysis, analysis.exploratory, "Exploratory, uncorrected", "")
    return (
        environment()
        .get_template("index.html.j2")
        .render(
            sweep=ablation.sweep,
            checkpoint=CHECKPOINT_NAMES[ablation.sweep.checkpoint],
            status=status_line(ablation),
            concerns=concerns(ablation),
            sentences=[sentence(pair, ablation) for pair in analysis.declared],
            arms=arms_table(analysis),
            arms_caption=arms_caption(ablation),
            comparisons=comparisons if analysis.declared else None,
            exploratory=exploratory if analysis.exploratory else None,
            pictures={plate.name: picture(plate) for plate in plates},
            runs=runs_table(ablation),
            runs_open=len(ablation.planned) <= RUNS_SHOWN_OPEN,
            words=sweep_words(ablation.sweep),
            commands=rebuild(ablation),
            facts=reproduction(ablation),
            designs=[(arm, " ".join(map(shlex.quote, arm.arm.overrides))) for arm in ablation.arms.values()],
        )
    )


def environment() -> Environment:
    """Templates of this package; whatever they print is escaped."""
    return Environment(
        loader=PackageLoader("capsbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def status_line(ablation: Ablation) -> str:
    """How many of the planned runs are where."""
    planned = ablation.planned
    parts = [f"{len(ablation.done)} of {len(planned)} runs done"]
    for state in RunState:
        number = sum(run.state is state for run in planned)
        if number and state is not RunState.done:
            parts.append(f"{number} {state}")
    return ", ".join(parts)


def picture(plate: Plate) -> Picture:
    """A plate with its drawing as a data address."""
    source = "data:image/svg+xml;base64," + base64.b64encode(plate.svg).decode()
    return Picture(plate.name, plate.title, plate.caption, plate.alt, source, round(plate.figure.get_figwidth(), 2))
