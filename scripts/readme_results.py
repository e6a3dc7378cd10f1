"""Writes the README's results from results/*.json: `python scripts/readme_results.py` (`--check`: only compares)."""

import argparse
import sys
from pathlib import Path

from capsbench.errors import CapsbenchError
from capsbench.report.readme import with_results

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Exit status 0: README.md is current now; 1: with --check, it was not; 2: a file of results is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing, say whether README.md is current")
    check = arguments.parse_args().check
    path = ROOT / "README.md"
    try:
        text = with_results(path.read_text(), ROOT / "results")
    except CapsbenchError as error:
        print(error, file=sys.stderr)
        return 2
    if check and text != path.read_text():
        print("README.md is not what results/ says: run `python scripts/readme_results.py`", file=sys.stderr)
        return 1
    if not check:
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
