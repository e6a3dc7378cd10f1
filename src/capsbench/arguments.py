"""Commands, their arguments and options; `capsbench.commands` has a function for each."""

import argparse
from pathlib import Path

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


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        "capsbench", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="store_true", help="print the version and stop")
    top.set_defaults(command="no_command")
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
    sweep.set_defaults(command="sweep")

    status = commands.add_parser("status", help="what of a sweep is done, running, failed, left")
    status.add_argument("name")
    status.add_argument("overrides", nargs="*")
    status.add_argument("--preset")
    status.add_argument("--watch", action="store_true", help="a live table")
    status.add_argument("--study", help="another name that a search was started under")
    status.add_argument("--storage", help="where the study is, if not in the folder of the runs")
    status.set_defaults(command="status")

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
    report.set_defaults(command="report")

    evaluate = commands.add_parser("evaluate", help="evaluate a finished run again, on other questions")
    evaluate.add_argument("run", type=Path, help="a run's folder: runs/GROUP/ARM_HASH/seedNN")
    evaluate.add_argument(
        "overrides", nargs="*", help="evaluation=OPTION, evaluation.KEY=VALUE, data.KEY=VALUE with --data"
    )
    evaluate.add_argument("--data", help="on other data: an option of data=, such as affnist or folder; kept apart")
    evaluate.set_defaults(command="evaluate")

    export = commands.add_parser("export", help="write a run's weights as safetensors")
    export.add_argument("run", type=Path, help="a run's folder: runs/GROUP/ARM_HASH/seedNN")
    export.add_argument("--out", type=Path, default=Path("model.safetensors"), help="file to write")
    export.add_argument("--checkpoint", choices=["last", "selected"], default="last", help="which epoch's weights")
    export.set_defaults(command="export")

    results = commands.add_parser("results", help="all runs as one flat table for your own notebook")
    results.add_argument("name", nargs="?", help="sweep or experiment; all if left out")
    results.add_argument("--root", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    results.add_argument("--out", type=Path, default=Path("results.csv"), help="a .csv or .parquet file")
    results.set_defaults(command="results")

    sync = commands.add_parser("sync", help="upload offline W&B runs")
    sync.add_argument("name", nargs="?", help="sweep or experiment; all if left out")
    sync.add_argument("--root", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    sync.add_argument("--dry-run", action="store_true", help="say what would be uploaded")
    sync.set_defaults(command="sync")

    data = commands.add_parser("data", help="list, fetch, verify or show data sets")
    data.add_argument("action", choices=["list", "fetch", "verify", "show"])
    data.add_argument("name", nargs="?", default="mnist", help="an option of data=, such as fashion_mnist or folder")
    data.add_argument("overrides", nargs="*", help="such as data.root=FOLDER data.size=64")
    data.add_argument("--root", help="folder with the data set's own files, or to fetch them into")
    data.add_argument("--out", type=Path, default=Path("contact_sheet.png"), help="picture that `show` writes")
    data.set_defaults(command="data")

    bench = commands.add_parser("bench", help="time training steps of arms side by side")
    bench.add_argument("overrides", nargs="*", help="key=value for all arms")
    bench.add_argument(
        "--compare",
        nargs="+",
        metavar="ARM",
        help="compiled, eager, naive, convolutions, own_convolutions, bare, lightning, routing, or overrides",
    )
    bench.add_argument("--against", metavar="ARM", help="one more arm to compare with, such as naive")
    bench.add_argument("--batch", type=int, default=128)
    bench.add_argument("--rounds", type=int, default=5)
    bench.add_argument("--steps", type=int, default=3, help="timed steps in each round")
    bench.add_argument("--no-memory", action="store_true", help="do not measure peak memory, which starts processes")
    bench.add_argument("--json", action="store_true", help="print the figures as JSON")
    bench.add_argument("--out", type=Path, help="also keep them as bench-<hardware>-torch<version>.json in this folder")
    bench.add_argument("--name", help="keep them under a name of their own, beside this machine's other comparisons")
    bench.set_defaults(command="bench")

    doctor = commands.add_parser("doctor", help="look at the installation and say what to do about it")
    doctor.add_argument("overrides", nargs="*", help="key=value of the runs that are asked about, such as data=svhn")
    doctor.add_argument("--storage", help="journal:PATH or postgresql+psycopg://USER@HOST/DATABASE")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(command="doctor")

    keys = commands.add_parser("keys", help="explain every configuration key")
    keys.add_argument("prefix", nargs="?", default="", help="only keys that start with this")
    keys.set_defaults(command="keys")

    completion = commands.add_parser("completion", help="print the shell's completion script")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(command="completion")
    return top
