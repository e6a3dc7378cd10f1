"""Writes the README's results from results/*.json: `python scripts/readme_results.py` (`--check`: only compares)."""

import argparse
import sys
from pathlib import Path

from capsbench.errors import CapsbenchError
from capsbench.report.analysis import analyse
from capsbench.report.readme import draw_picture, with_results
from capsbench.report.results_file import read_results_file, read_values, results_files, write_results_file

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Exit status 0: README.md is current now; 1: with --check, it was not; 2: a file of results is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing, say whether README.md is current")
    arguments.add_argument("--picture", metavar="GROUP", help="first draw results/report.png from results/GROUP.json")
    arguments.add_argument(
        "--restate",
        action="store_true",
        help="first write the verdicts of all results anew from their runs and predictions, as after a change of words",
    )
    given = arguments.parse_args()
    path = ROOT / "README.md"
    try:
        if given.restate and not given.check:
            restate(ROOT / "results")
        if given.picture and not given.check:
            draw_picture(ROOT / "results", given.picture)
        text = with_results(path.read_text(), ROOT / "results")
    except CapsbenchError as error:
        print(error, file=sys.stderr)
        return 2
    if given.check and text != path.read_text():
        print("README.md is not what results/ says: run `python scripts/readme_results.py`", file=sys.stderr)
        return 1
    if not given.check:
        path.write_text(text)
    return 0


def restate(folder: Path) -> None:
    """Write every file of results from what it holds; runs and predictions stay as they are."""
    for path in results_files(folder).values():
        write_results_file(analyse(read_results_file(path)), folder, read_values(path)["overrides"])


if __name__ == "__main__":
    sys.exit(main())
