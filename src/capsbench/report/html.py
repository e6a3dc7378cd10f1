"""One page that holds the whole report: no script, no network, readable in the dark, on a phone and on paper."""

import base64
import shlex
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from capsbench.report.analysis import Analysis
from capsbench.report.collect import Ablation, RunState
from capsbench.report.concerns import commits, concerns, hardware, packages
from capsbench.report.figures.style import Plate
from capsbench.report.tables.arms import CHECKPOINT_NAMES, arms_caption, arms_table
from capsbench.report.tables.comparisons import comparisons_table
from capsbench.report.tables.runs import runs_table
from capsbench.report.verdicts import sentence

RUNS_SHOWN_OPEN = 60


@dataclass(frozen=True)
class Picture:
    """A plate ready to be put into the page."""

    name: str
    title: str
    caption: str
    alt: str
    source: str


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


def reproduction(ablation: Ablation) -> list[tuple[str, str]]:
    """What is needed to get these numbers again: commands, commit, hardware and versions."""
    sweep, runs = ablation.sweep, ablation.done
    preset = f" --preset {shlex.quote(sweep.preset)}" if sweep.preset else ""
    facts = [("command", f"capsbench sweep {shlex.quote(sweep.name)}{preset}")]
    facts.append(("report", f"capsbench report {shlex.quote(sweep.name)}{preset}"))
    facts.append(("seeds", ", ".join(map(str, sweep.seeds))))
    if not runs:
        return facts
    facts.append(("commit", ", ".join(commits(runs)) + (" (with uncommitted changes)" if _dirty(ablation) else "")))
    facts.append(("hardware", "; ".join(dict.fromkeys(hardware(run.provenance) for run in runs))))
    facts.append(("platform", "; ".join(_distinct(ablation, "platform"))))
    versions = {
        "python": "; ".join(_distinct(ablation, "python")),
        "capsbench": "; ".join(_distinct(ablation, "capsbench")),
    }
    for run in runs:
        versions |= packages(run.provenance)
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)))
    started, finished = _distinct(ablation, "started"), _distinct(ablation, "finished")
    if started and finished:
        facts.append(("run between", f"{min(started)} and {max(finished)}"))
    return [(name, value) for name, value in facts if value]


def _dirty(ablation: Ablation) -> bool:
    return any(run.provenance.get("dirty") for run in ablation.done)


def _distinct(ablation: Ablation, key: str) -> list[str]:
    return list(dict.fromkeys(str(run.provenance[key]) for run in ablation.done if run.provenance.get(key)))


def picture(plate: Plate) -> Picture:
    """A plate with its drawing as a data address."""
    source = "data:image/svg+xml;base64," + base64.b64encode(plate.svg).decode()
    return Picture(plate.name, plate.title, plate.caption, plate.alt, source)
