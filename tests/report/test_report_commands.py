"""The commands on reports and results, as a user types them."""

import sys

import pytest

from capsbench import cli
from report.fake_runs import Truth, fake_sweep, write_runs

SWEEP = """\
kind: ablation
title: Fake
seeds: [0, 1, 2]
base: [model=cnn_small]
arms:
  good: {label: The good one, overrides: []}
  bad: {label: The bad one, overrides: [model.pooling=average]}
comparisons: [[good, bad]]
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run `capsbench ...` in an empty folder; gives exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["capsbench", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    return run


def test_claims_are_written_before_anything_has_run(call, tmp_path):
    status, out, _ = call("report", "claims")
    assert status == 0
    assert "not yet run  Max pooling throws away where things are." in out
    assert "capsbench sweep table1" in out
    assert (tmp_path / "report" / "claims" / "index.html").exists()
    assert (tmp_path / "report" / "claims" / "claims.md").read_text().startswith("# What people say")


def test_results_of_one_sweep_or_of_all(call, tmp_path):
    for name in ("one", "two"):
        write_runs(tmp_path / "runs", fake_sweep(name=name, seeds=(0, 1)), {"cnn_max": Truth()}, images=200)
    assert call("results", "one", "--out", "one.csv")[1] == "2 runs written to one.csv\n"
    assert call("results")[1] == "4 runs written to results.csv\n"
    status, _, problem = call("results", "three")
    assert (status, problem) == (2, "capsbench: no runs in runs/three\n")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("evaluate", "runs/no/run_00000000/seed00"), "not a run's folder"),
        (("export", "runs/no/run_00000000/seed00"), "not a run's folder"),
        (("results", "--out", "x.json"), "must end in .csv or .parquet"),
        (("report", "no_such_sweep"), "no sweep file"),
    ],
)
def test_mistakes_are_one_line_and_status_2(call, words, problem):
    status, _, said = call(*words)
    assert status == 2
    assert problem in said
    assert "Traceback" not in said


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
def test_a_report_goes_to_wandb_when_it_is_asked_for(call, tmp_path, wandb_server):
    (tmp_path / "fake.yaml").write_text(SWEEP)
    status, out, _ = call("report", "fake.yaml", "--out", "here", "--wandb")
    assert status == 0
    assert "0 of 6 runs done" in out
    assert f"W&B report: {wandb_server.url}/fake-team/capsbench/reports/Fake--" in out
    assert "W&B workspace: " in out
    assert len(wandb_server.backend.views) == 2
    assert (tmp_path / "here" / "wandb.json").exists()
