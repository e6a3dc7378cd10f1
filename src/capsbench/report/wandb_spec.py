"""A report and a workspace for W&B with what the local report says: the same words, tables, figures, and live panels.

Nothing here uses the network. Names out of configurations are escaped for Markdown, as in table.md.
"""

from typing import Any

from capsbench.report.analysis import Analysis
from capsbench.report.collect import AFFINE
from capsbench.report.concerns import concerns
from capsbench.report.figures.style import Plate
from capsbench.report.html import status_line
from capsbench.report.reproduction import rebuild, reproduction, sweep_words
from capsbench.report.tables.arms import arms_table
from capsbench.report.tables.comparisons import comparisons_table
from capsbench.report.tables.runs import runs_table
from capsbench.report.tables.table import code_block, markdown_text, to_markdown
from capsbench.report.verdicts import sentence

# Limits of W&B itself.
LONGEST_TITLE = 128
ARM, STEP = "arm", "trainer/global_step"
JOB = "report"


def report_spec(analysis: Analysis, plates: list[Plate], captions: dict[str, str], entity: str, project: str) -> Any:
    """The report of a sweep as a `wandb_workspaces.reports.v2.Report`, not saved yet.

    Args:
        analysis: what the report is about.
        plates: its figures, which `publish` logs to a W&B run as `figures/NAME`.
        captions: what is written under its tables, by `comparisons` and `exploratory`.
        entity: owner of the project.
        project: W&B project of the runs.
    """
    import wandb_workspaces.reports.v2 as wr

    ablation = analysis.ablation
    sweep = ablation.sweep
    blocks: list[Any] = [wr.TableOfContents()]
    if sweep.question:
        blocks.append(wr.MarkdownBlock(markdown_text(sweep.question)))
    blocks.append(wr.MarkdownBlock(f"{status_line(ablation)}."))
    weak = concerns(ablation)
    if weak:
        blocks += [wr.H2("Before you believe this"), wr.MarkdownBlock(_listed(weak))]
    blocks += [wr.H1("Answers"), wr.MarkdownBlock(_answers(analysis))]
    blocks += [wr.H1("Results"), wr.MarkdownBlock(to_markdown(arms_table(analysis)))]
    for title, pairs in (
        ("Declared comparisons", analysis.declared),
        ("Exploratory, uncorrected", analysis.exploratory),
    ):
        if pairs:
            table = comparisons_table(analysis, pairs, title, captions.get(title, ""))
            blocks.append(wr.MarkdownBlock(to_markdown(table)))
    if plates:
        blocks += [wr.H1("Figures"), wr.MarkdownBlock(_captions(plates)), figure_grid(analysis, plates)]
    blocks += [wr.H1("Runs, live"), run_grid(analysis), wr.MarkdownBlock(to_markdown(runs_table(ablation)))]
    facts = [f"{name}: {value}" for name, value in reproduction(ablation)]
    blocks += [wr.H1("Reproduce"), wr.MarkdownBlock(code_block(rebuild(ablation))), wr.MarkdownBlock(_listed(facts))]
    return wr.Report(
        entity=entity,
        project=project,
        title=sweep.title[:LONGEST_TITLE],
        description=f"capsbench report {sweep_words(sweep)}",
        blocks=blocks,
        width="fluid",
    )


def workspace_spec(analysis: Analysis, entity: str, project: str) -> Any:
    """A saved view of the project that shows the sweep's runs by arm, not saved yet."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    errors, curves, costs = panels(analysis)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"capsbench {analysis.ablation.sweep.group}",
        sections=[
            ws.Section("Errors", panels=errors, is_open=True),
            ws.Section("Curves", panels=curves, is_open=True),
            ws.Section("Cost and hyperparameters", panels=costs, is_open=True),
        ],
        runset_settings=ws.RunsetSettings(filters=_filters(analysis), groupby=[expr.Config(ARM)]),
    )


def run_grid(analysis: Analysis) -> Any:
    """Live panels over the runs that the report is about, grouped by arm."""
    import wandb_workspaces.reports.v2 as wr

    errors, curves, costs = panels(analysis)
    runset = wr.Runset(
        name="Runs by arm",
        filters=_filters(analysis),
        groupby=[f"config.{ARM}"],
        order=[wr.OrderBy(wr.Config(ARM), ascending=True)],
        pinned_columns=["summary:test/errors", "summary:affine/errors", "config:seed.value"],
    )
    return wr.PanelGrid(runsets=[runset], panels=[*errors, *curves, *costs])


def figure_grid(analysis: Analysis, plates: list[Plate]) -> Any:
    """The local report's figures, from the run that holds them."""
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    group = analysis.ablation.sweep.group
    filters = expr.And(expr.Metric("Group") == group, expr.Metric("JobType") == JOB)
    shown = [
        wr.MediaBrowser(
            title=plate.title,
            media_keys=[f"figures/{plate.name}"],
            num_columns=1,
            layout=wr.Layout(0, 14 * place, 24, 14),
        )
        for place, plate in enumerate(plates)
    ]
    return wr.PanelGrid(runsets=[wr.Runset(name="Report", filters=filters)], panels=shown)


def panels(analysis: Analysis) -> tuple[list[Any], list[Any], list[Any]]:
    """Panels on errors, over training, and on cost and hyperparameters."""
    import wandb_workspaces.reports.v2 as wr

    sweep, arm = analysis.ablation.sweep, wr.Config(ARM)
    metrics = list(dict.fromkeys((sweep.metric, "test/errors", AFFINE)))
    errors = [
        wr.BarPlot(
            title=f"{metric} by arm",
            metrics=[metric],
            groupby=arm,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            layout=wr.Layout(8 * place, 0, 8, 8),
        )
        for place, metric in enumerate(metrics)
    ]
    curves = [
        wr.LinePlot(
            title=title,
            x=STEP,
            y=[metric],
            groupby=arm,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            layout=wr.Layout(8 * place, 8, 8, 8),
        )
        for place, (title, metric) in enumerate(
            (("Validation accuracy", "val/accuracy"), ("Validation loss", "val/loss"), ("Training loss", "train/loss"))
        )
    ]
    error, seconds = wr.SummaryMetric(sweep.metric), wr.SummaryMetric("time/train_seconds")
    size = wr.SummaryMetric("cost/parameters")
    costs = [
        wr.ScatterPlot(title="Errors against training time", x=seconds, y=error, layout=wr.Layout(0, 16, 8, 8)),
        wr.ScatterPlot(title="Errors against parameters", x=size, y=error, layout=wr.Layout(8, 16, 8, 8)),
        wr.ParallelCoordinatesPlot(
            title="Arms, cost and errors",
            columns=[wr.ParallelCoordinatesPlotColumn(metric=metric) for metric in (arm, size, seconds, error)],
            layout=wr.Layout(0, 24, 16, 8),
        ),
        wr.ParameterImportancePlot(with_respect_to=sweep.metric, layout=wr.Layout(16, 16, 8, 8)),
        wr.RunComparer(diff_only="split", layout=wr.Layout(0, 32, 16, 8)),
        wr.MediaBrowser(
            title="Reconstructions", media_keys=["reconstructions"], num_columns=5, layout=wr.Layout(16, 24, 8, 16)
        ),
    ]
    return errors, curves, costs


def _filters(analysis: Analysis) -> Any:
    """The sweep's runs of the configurations that the local report is about, and no others."""
    from wandb_workspaces import expr

    ablation = analysis.ablation
    hashes = sorted({arm.hash for arm in ablation.arms.values() if arm.hash})
    parts = [expr.Metric("Group") == ablation.sweep.group, expr.Metric("JobType") == "train"]
    return expr.And(*parts, *([expr.Config("hash").isin(hashes)] if hashes else []))


def _answers(analysis: Analysis) -> str:
    lines = []
    for pair in analysis.declared:
        said = sentence(pair, analysis.ablation)
        lines.append(f"- **{markdown_text(said.text)}**" + (f" {markdown_text(said.numbers)}." if said.numbers else ""))
        lines += [f"  - {markdown_text(caveat)}" for caveat in said.caveats]
    return "\n".join(lines) or "The sweep file declares no comparisons."


def _captions(plates: list[Plate]) -> str:
    return _listed([f"{plate.title}: {plate.caption}" for plate in plates])


def _listed(texts: list[str]) -> str:
    return "\n".join(f"- {markdown_text(text)}" for text in texts)
