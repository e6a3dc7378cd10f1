"""What each command does: call, print, and return the exit status. Heavy imports happen inside a command."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from capsbench.arguments import parser
from capsbench.errors import CapsbenchError
from capsbench.reporting import MISTAKE

if TYPE_CHECKING:
    from capsbench.report.analysis import Analysis
    from capsbench.studies.search_file import Search
    from capsbench.sweep_file import Sweep


def no_command(arguments: argparse.Namespace) -> int:
    if arguments.version:
        from capsbench import __version__

        print(f"capsbench {__version__}")
        return 0
    parser().print_help()
    return MISTAKE


def sweep(arguments: argparse.Namespace) -> int:
    from capsbench.studies.commands import design_of, own_overrides, start_sweep, status_of
    from capsbench.sweep_file import Sweep

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    design = design_of(arguments)
    if arguments.dry_run:
        print(status_of(design, arguments).text())
        return 0
    if arguments.export_wandb:
        from capsbench.studies.wandb_export import wandb_sweep

        print(wandb_sweep(design), end="")
        return 0
    status = start_sweep(arguments)
    if not arguments.no_report:
        if isinstance(design, Sweep):
            _write_report(design, own_overrides(arguments.overrides))
        else:
            _report_search(design, arguments, None)
    return status


def status(arguments: argparse.Namespace) -> int:
    from capsbench.studies.commands import design_of, status_of
    from capsbench.studies.status import watch

    design = design_of(arguments)
    status = watch(lambda: status_of(design, arguments)) if arguments.watch else status_of(design, arguments)
    if not arguments.watch:
        print(status.text())
    return 1 if status.has_failures else 0


def report(arguments: argparse.Namespace) -> int:
    from capsbench.studies.commands import design_of
    from capsbench.sweep_file import Sweep

    if arguments.name == "claims":
        return _claims(arguments)
    design = design_of(arguments)
    if not isinstance(design, Sweep):
        _report_search(design, arguments, arguments.out)
        return 0
    analysis = _write_report(design, arguments.overrides, arguments.out, wandb=arguments.wandb)
    if arguments.results is not None:
        from capsbench.report.results_file import write_results_file

        print(f"results: {write_results_file(analysis, arguments.results, arguments.overrides)}")
    return 0


def _report_search(design: "Search", arguments: argparse.Namespace, out: Path | None) -> None:
    from capsbench.report.search import read_search
    from capsbench.report.search_report import search_text, write_search_report
    from capsbench.studies.commands import own_overrides
    from capsbench.studies.space import is_sweep
    from capsbench.studies.summary import open_search, search_folder, write_summary

    if getattr(arguments, "wandb", False):
        raise CapsbenchError(
            "--wandb: a search has no report on W&B; its trials are runs there, to be shown by W&B itself"
        )
    overrides = [text for text in own_overrides(arguments.overrides) if not is_sweep(text)]
    study = open_search(design, overrides, arguments.study, arguments.storage)
    folder = search_folder(design, overrides, arguments.study)
    values = write_summary(study, design, folder)
    search = read_search(values)
    index = write_search_report(search, out or Path("report") / folder.name)
    print(f"\n{search_text(search)}\nreport: {index}")
    if getattr(arguments, "results", None) is not None:
        from capsbench.report.search_file import write_search_file

        print(f"results: {write_search_file(values, search, arguments.results)}")
    if getattr(arguments, "experiment", None) is not None:
        from capsbench.report.search_experiment import write_experiment

        print(f"experiment: {write_experiment(search, arguments.experiment)}")


def _claims(arguments: argparse.Namespace) -> int:
    from capsbench.compose import shipped
    from capsbench.report.claims import judge_all
    from capsbench.report.claims_page import claims_text, write_claims
    from capsbench.report.evidence import read_evidence

    judged = judge_all(read_evidence(shipped("sweeps"), arguments.root, arguments.results))
    index = write_claims(judged, arguments.out or Path("report") / "claims")
    print(f"{claims_text(judged)}\n\nreport: {index}")
    if arguments.results is not None:
        from capsbench.report.claims_file import write_claims_file

        print(f"results: {write_claims_file(judged, arguments.results)}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    from capsbench.training.evaluate import evaluate_elsewhere, evaluate_run

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.data is None:
        folder, result = arguments.run, evaluate_run(arguments.run, arguments.overrides)
    else:
        folder, result = evaluate_elsewhere(arguments.run, arguments.data, arguments.overrides)
    metrics = result["metrics"]
    width = max(map(len, metrics))
    print("\n".join(f"{name:<{width}}  {value:g}" for name, value in metrics.items()))
    print(f"\nkept in {folder / 'result.json'}")
    return 0


def export(arguments: argparse.Namespace) -> int:
    from capsbench.trained import export

    export(arguments.run, arguments.out, arguments.checkpoint)
    print(f"weights and configuration written to {arguments.out}")
    return 0


def results(arguments: argparse.Namespace) -> int:
    from capsbench.report.flatten import write_results

    count = write_results(arguments.root, arguments.name, arguments.out)
    print(f"{count} runs written to {arguments.out}")
    return 0


def sync(arguments: argparse.Namespace) -> int:
    from capsbench.training.sync import sync_runs

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = sync_runs(arguments.root, arguments.name, dry_run=arguments.dry_run)
    print(report.text())
    return 0 if report.complete else 1


def data(arguments: argparse.Namespace) -> int:
    from capsbench.data import commands

    if arguments.action == "list":
        print(commands.list_datasets())
    elif arguments.action == "fetch":
        print(commands.fetch(arguments.name, arguments.root))
    else:
        cfg = commands.data_config(arguments.name, arguments.root, arguments.overrides)
        print(commands.verify(cfg) if arguments.action == "verify" else commands.show(cfg, arguments.out))
    return 0


def bench(arguments: argparse.Namespace) -> int:
    import json

    from capsbench.bench.bench import bench, check_name, expand, keep, table

    check_name(arguments.name)
    names = arguments.compare or ["compiled", "eager"]
    if arguments.against:
        names = [*names, arguments.against]
    result = bench(
        expand(names),
        arguments.overrides,
        batch=arguments.batch,
        rounds=arguments.rounds,
        steps=arguments.steps,
        memory=not arguments.no_memory,
    )
    print(json.dumps(result, indent=1) if arguments.json else table(result))
    if arguments.out is not None:
        print(f"kept in {keep(result, arguments.out, arguments.name)}", file=sys.stderr)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    from capsbench.compose import compose
    from capsbench.doctor.doctor import examine
    from capsbench.doctor.finding import as_json, as_text, has_problems

    findings = examine(compose(arguments.overrides), arguments.storage)
    print(as_json(findings) if arguments.json else as_text(findings))
    return 1 if has_problems(findings) else 0


def keys(arguments: argparse.Namespace) -> int:
    from capsbench.compose import documented_keys

    for name, default, doc in documented_keys():
        if name.startswith(arguments.prefix):
            print(f"{name} = {'null' if default is None else default}\n    {doc}")
    return 0


def completion(arguments: argparse.Namespace) -> int:
    from capsbench.completion import script

    print(script(arguments.shell))
    return 0


def _write_report(
    sweep: "Sweep", overrides: "Sequence[str]", out: Path | None = None, *, wandb: bool = False
) -> "Analysis":
    from capsbench.report.report import study, write_analysis
    from capsbench.report.summary import summary_text
    from capsbench.studies.plan import arm_hashes, plan, runs_root

    runs = plan(sweep, overrides)
    sweep = replace(sweep, extra=tuple(overrides))
    analysis = study(sweep, runs_root(runs), arm_hashes(runs))
    folder = out or Path("report") / sweep.group
    index = write_analysis(analysis, folder)
    print(f"\n{summary_text(analysis)}\n\nreport: {index}")
    if wandb:
        from capsbench.report.wandb_report import publish

        published = publish(analysis, folder)
        print(f"W&B report: {published.report_url}\nW&B workspace: {published.workspace_url}")
        print(f"Its live panels show the runs that are there: `capsbench sync {sweep.group}` uploads the others.")
    return analysis
