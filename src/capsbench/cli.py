"""The command line: parse and call, nothing else. Heavy imports happen inside a command."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capsbench.environment import prepare_environment
from capsbench.errors import CapsbenchError
from capsbench.reporting import MISTAKE, reporting_errors

if TYPE_CHECKING:
    from capsbench.report.analysis import Analysis
    from capsbench.studies.plan import Planned
    from capsbench.studies.search_file import Search
    from capsbench.sweep_file import Sweep

DESCRIPTION = """\
Train capsule networks and convolutional networks under one protocol, many times over, and report what differs.

  capsbench train model=capsnet seed=3       train and evaluate one run (Hydra overrides; -m for several)
  capsbench sweep quick                      run all arms and seeds of sweeps/quick.yaml, then report
  capsbench report quick                     tables and figures of what has run so far
"""
EPILOG = """\
The same command again continues what was stopped and skips what is done. Completion:
eval "$(capsbench completion bash)".
Exit status: 0 done, 1 a run failed (doctor: a problem), 2 a mistake in the command or its files, 130 interrupted.
"""
COMMANDS = (
    "train",
    "sweep",
    "status",
    "report",
    "evaluate",
    "export",
    "results",
    "sync",
    "data",
    "bench",
    "doctor",
    "keys",
    "completion",
)


def main() -> None:
    """Entry point of the console script."""
    prepare_environment()
    with reporting_errors():
        arguments = sys.argv[1:]
        # Hydra reads a run's arguments itself: flags, overrides and completion are its own.
        if arguments[:1] == ["train"]:
            from capsbench.app import main as train

            train(arguments[1:])
            return
        if arguments[:1] == ["complete"]:
            from capsbench.completion import candidates

            print("\n".join(candidates(arguments[1])))
            return
        parsed, rest = parser().parse_known_args(arguments)
        # argparse takes no further positionals after an option, and overrides may well come last.
        strange = [word for word in rest if "=" not in word or word.startswith("--") or "overrides" not in parsed]
        if strange:
            parser().error(f"unrecognized arguments: {' '.join(strange)}")
        if rest:
            parsed.overrides += rest
        sys.exit(parsed.command(parsed))


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        "capsbench", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="store_true", help="print the version and stop")
    top.set_defaults(command=_no_command)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")

    commands.add_parser("train", help="train and evaluate one run, or several with -m", add_help=False)

    sweep = commands.add_parser("sweep", help="run every arm and seed of a sweep file, then report")
    sweep.add_argument("name", help="a file of sweeps/ without .yaml, or a path to your own")
    sweep.add_argument("overrides", nargs="*", help="key=value for every run")
    sweep.add_argument("--preset", help="a smaller or larger form that the sweep file offers")
    sweep.add_argument("--dry-run", action="store_true", help="show the runs and their states, start none")
    sweep.add_argument("--retry-failed", action="store_true", help="try runs that failed once more")
    sweep.add_argument("--no-report", action="store_true", help="do not write the report at the end")
    sweep.add_argument("--workers", type=int, default=1, help="runs at a time (default: 1)")
    sweep.add_argument(
        "--launcher", help="basic, joblib, submitit_local, submitit_slurm or ray (default: joblib for several workers)"
    )
    sweep.add_argument("--storage", help="journal:PATH or postgresql+psycopg://USER@HOST/DATABASE")
    sweep.add_argument("--study", help="another name for a search, whose trials are then kept apart")
    sweep.add_argument("--trials", type=int, help="total of a search, instead of the file's")
    sweep.add_argument("--minutes", type=float, help="time limit of a run")
    sweep.add_argument("--max-failures", type=int, help="stop after more failed runs than this")
    sweep.add_argument("--isolation", choices=["fork", "process"], help="how runs are kept apart (default: fork)")
    sweep.add_argument("--export-wandb", action="store_true", help="print the search as a W&B sweep, start nothing")
    sweep.set_defaults(command=_sweep)

    status = commands.add_parser("status", help="what of a sweep is done, running, failed, left")
    status.add_argument("name")
    status.add_argument("overrides", nargs="*")
    status.add_argument("--preset")
    status.add_argument("--watch", action="store_true", help="a live table")
    status.add_argument("--study", help="another name that a search was started under")
    status.add_argument("--storage", help="where the study is, if not in the folder of the runs")
    status.set_defaults(command=_status)

    report = commands.add_parser("report", help="write tables, figures and index.html of a sweep")
    report.add_argument("name")
    report.add_argument("overrides", nargs="*")
    report.add_argument("--preset")
    report.add_argument("--out", type=Path, help="folder for the report (default: report/NAME)")
    report.add_argument("--wandb", action="store_true", help="also create or update the W&B report and workspace")
    report.add_argument("--root", type=Path, default=Path("runs"), help="folder of the runs, for `report claims`")
    report.add_argument(
        "--results",
        type=Path,
        help="also keep numbers and predictions in one small file of this folder, to be committed",
    )
    report.add_argument(
        "--experiment", type=Path, help="of a search: write the best configuration as an experiment to this .yaml file"
    )
    report.add_argument("--study", help="another name that a search was started under")
    report.add_argument("--storage", help="where a search's study is, if not in the folder of the runs")
    report.set_defaults(command=_report)

    evaluate = commands.add_parser("evaluate", help="evaluate a finished run again, on other questions")
    evaluate.add_argument("run", type=Path, help="a run's folder: runs/GROUP/ARM_HASH/seedNN")
    evaluate.add_argument(
        "overrides", nargs="*", help="evaluation=OPTION, evaluation.KEY=VALUE, data.KEY=VALUE with --data"
    )
    evaluate.add_argument("--data", help="on other data: an option of data=, such as affnist or folder; kept apart")
    evaluate.set_defaults(command=_evaluate)

    export = commands.add_parser("export", help="write a run's weights as safetensors")
    export.add_argument("run", type=Path, help="a run's folder: runs/GROUP/ARM_HASH/seedNN")
    export.add_argument("--out", type=Path, default=Path("model.safetensors"), help="file to write")
    export.add_argument("--checkpoint", choices=["last", "selected"], default="last", help="which epoch's weights")
    export.set_defaults(command=_export)

    results = commands.add_parser("results", help="all runs as one flat table for your own notebook")
    results.add_argument("name", nargs="?", help="sweep or experiment; all if left out")
    results.add_argument("--root", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    results.add_argument("--out", type=Path, default=Path("results.csv"), help="a .csv or .parquet file")
    results.set_defaults(command=_results)

    sync = commands.add_parser("sync", help="upload offline W&B runs")
    sync.add_argument("name", nargs="?", help="sweep or experiment; all if left out")
    sync.add_argument("--root", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    sync.add_argument("--dry-run", action="store_true", help="say what would be uploaded")
    sync.set_defaults(command=_sync)

    data = commands.add_parser("data", help="list, fetch, verify or show data sets")
    data.add_argument("action", choices=["list", "fetch", "verify", "show"])
    data.add_argument("name", nargs="?", default="mnist", help="an option of data=, such as fashion_mnist or folder")
    data.add_argument("overrides", nargs="*", help="such as data.root=FOLDER data.size=64")
    data.add_argument("--root", help="folder with the data set's own files, or to fetch them into")
    data.add_argument("--out", type=Path, default=Path("contact_sheet.png"), help="picture that `show` writes")
    data.set_defaults(command=_data)

    bench = commands.add_parser("bench", help="time training steps of arms side by side")
    bench.add_argument("overrides", nargs="*", help="key=value for all arms")
    bench.add_argument(
        "--compare",
        nargs="+",
        metavar="ARM",
        help="compiled, eager, naive, convolutions, bare, lightning, or overrides",
    )
    bench.add_argument("--against", metavar="ARM", help="one more arm to compare with, such as naive")
    bench.add_argument("--batch", type=int, default=128)
    bench.add_argument("--rounds", type=int, default=5)
    bench.add_argument("--steps", type=int, default=3, help="timed steps in each round")
    bench.add_argument("--no-memory", action="store_true", help="do not measure peak memory, which starts processes")
    bench.add_argument("--json", action="store_true", help="print the figures as JSON")
    bench.add_argument("--out", type=Path, help="also keep them as bench-<hardware>-torch<version>.json in this folder")
    bench.set_defaults(command=_bench)

    doctor = commands.add_parser("doctor", help="look at the installation and say what to do about it")
    doctor.add_argument("overrides", nargs="*", help="key=value of the runs that are asked about, such as data=svhn")
    doctor.add_argument("--storage", help="journal:PATH or postgresql+psycopg://USER@HOST/DATABASE")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(command=_doctor)

    keys = commands.add_parser("keys", help="explain every configuration key")
    keys.add_argument("prefix", nargs="?", default="", help="only keys that start with this")
    keys.set_defaults(command=_keys)

    completion = commands.add_parser("completion", help="print the shell's completion script")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(command=_completion)
    return top


def _no_command(arguments: argparse.Namespace) -> int:
    if arguments.version:
        from capsbench import __version__

        print(f"capsbench {__version__}")
        return 0
    parser().print_help()
    return MISTAKE


def _sweep(arguments: argparse.Namespace) -> int:
    from capsbench.studies.commands import design_of, own_overrides, start_sweep, status_of
    from capsbench.studies.plan import plan
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
            _write_report(design, plan(design, own_overrides(arguments.overrides)), None)
        else:
            _report_search(design, arguments, None)
    return status


def _status(arguments: argparse.Namespace) -> int:
    from capsbench.studies.commands import design_of, status_of
    from capsbench.studies.status import watch

    design = design_of(arguments)
    status = watch(lambda: status_of(design, arguments)) if arguments.watch else status_of(design, arguments)
    if not arguments.watch:
        print(status.text())
    return 1 if status.has_failures else 0


def _report(arguments: argparse.Namespace) -> int:
    from capsbench.studies.commands import design_of
    from capsbench.studies.plan import plan
    from capsbench.sweep_file import Sweep

    if arguments.name == "claims":
        return _claims(arguments)
    design = design_of(arguments)
    if not isinstance(design, Sweep):
        _report_search(design, arguments, arguments.out)
        return 0
    analysis = _write_report(design, plan(design, arguments.overrides), arguments.out, wandb=arguments.wandb)
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
    from capsbench.report.claims import judge_all, read_evidence
    from capsbench.report.claims_page import claims_text, write_claims

    judged = judge_all(read_evidence(shipped("sweeps"), arguments.root, arguments.results))
    index = write_claims(judged, arguments.out or Path("report") / "claims")
    print(f"{claims_text(judged)}\n\nreport: {index}")
    if arguments.results is not None:
        from capsbench.report.claims_file import write_claims_file

        print(f"results: {write_claims_file(judged, arguments.results)}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
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


def _export(arguments: argparse.Namespace) -> int:
    from capsbench.trained import export

    export(arguments.run, arguments.out, arguments.checkpoint)
    print(f"weights and configuration written to {arguments.out}")
    return 0


def _results(arguments: argparse.Namespace) -> int:
    from capsbench.report.flatten import write_results

    count = write_results(arguments.root, arguments.name, arguments.out)
    print(f"{count} runs written to {arguments.out}")
    return 0


def _sync(arguments: argparse.Namespace) -> int:
    from capsbench.training.sync import sync_runs

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = sync_runs(arguments.root, arguments.name, dry_run=arguments.dry_run)
    print(report.text())
    return 0 if report.complete else 1


def _data(arguments: argparse.Namespace) -> int:
    from capsbench.data import commands

    if arguments.action == "list":
        print(commands.list_datasets())
    elif arguments.action == "fetch":
        print(commands.fetch(arguments.name, arguments.root))
    else:
        cfg = commands.data_config(arguments.name, arguments.root, arguments.overrides)
        print(commands.verify(cfg) if arguments.action == "verify" else commands.show(cfg, arguments.out))
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    import json

    from capsbench.bench.bench import bench, expand, keep, table

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
        print(f"kept in {keep(result, arguments.out)}", file=sys.stderr)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from capsbench.compose import compose
    from capsbench.doctor.doctor import examine
    from capsbench.doctor.finding import as_json, as_text, has_problems

    findings = examine(compose(arguments.overrides), arguments.storage)
    print(as_json(findings) if arguments.json else as_text(findings))
    return 1 if has_problems(findings) else 0


def _keys(arguments: argparse.Namespace) -> int:
    from capsbench.compose import documented_keys

    for name, default, doc in documented_keys():
        if name.startswith(arguments.prefix):
            print(f"{name} = {'null' if default is None else default}\n    {doc}")
    return 0


def _completion(arguments: argparse.Namespace) -> int:
    from capsbench.completion import script

    print(script(arguments.shell))
    return 0


def _write_report(sweep: "Sweep", runs: "Sequence[Planned]", out: Path | None, *, wandb: bool = False) -> "Analysis":
    from capsbench.report.report import study, write_analysis
    from capsbench.report.summary import summary_text
    from capsbench.studies.plan import arm_hashes, runs_root

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
