"""The committed evidence: numbers follow from the predictions beside them, and the README says what is there."""

from pathlib import Path

import pytest

from capsbench.report.claim_table import CLAIMS
from capsbench.report.readme import with_results
from capsbench.report.results_check import read_checked
from capsbench.report.results_file import read_values, results_files

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"


@pytest.mark.parametrize("path", results_files(RESULTS).values(), ids=lambda path: path.stem)
def test_counts_and_verdicts_follow_from_the_committed_predictions(path):
    analysis, problems = read_checked(path)
    assert problems == []
    assert analysis.ablation.done


@pytest.mark.parametrize("path", results_files(RESULTS, "claims").values(), ids=lambda path: path.stem)
def test_every_claim_is_judged_from_files_that_are_there(path):
    claims = read_values(path)["claims"]
    assert [claim["name"] for claim in claims] == [claim.name for claim in CLAIMS]
    for finding in (finding for claim in claims for finding in claim["findings"]):
        assert finding["evidence"] is None or (RESULTS / finding["evidence"]).exists()


def test_the_readme_is_current():
    readme = (ROOT / "README.md").read_text()
    assert with_results(readme, RESULTS) == readme, "run `python scripts/readme_results.py`"
