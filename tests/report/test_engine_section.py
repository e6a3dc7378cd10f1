"""The README's figures of the engine follow from the file that `scripts/measure_*.py --out results` writes."""

import json
import sys

import pytest

from capsbench.bench.figures import Figures, command
from capsbench.errors import CapsbenchError
from capsbench.report.engine_section import NOTHING, SAID, engine_section

TIMED = {"seconds": 6.24, "cpu_seconds": 6.1, "peak_mb": 1234, "status": 0, "said": "10000 runs: 10000 done"}
FOUND = {
    "engine": {
        "kind": "ablation", "runs": 2000, "workers": 1, "storage": "journal", "sampler": None, "status_seconds": 2.31,
        "cost_ms": {"median": 77.6, "mean": 80, "first_tenth": 75.2, "last_tenth": 79.0},
        "start_with_nothing_to_do_seconds": 2.5,
    },
    "storage": {
        "rates": [{"storage": "journal", "workers": 1, "trials": 400, "trials_per_second": 620.0, "median_ms": 1.0,
                   "longest_ms": 3.8, "bytes_per_trial": 1093},
                  {"storage": "journal", "workers": 8, "trials": 400, "trials_per_second": 512.3, "median_ms": 1.0,
                   "longest_ms": 1205.0, "bytes_per_trial": 1094}],
        "runs": [{"model": "capsnet", "bytes": 132_000_000, "files": {}}],
    },
    "many_runs": {"runs": 10_000, "status": TIMED, "sweep": {**TIMED, "seconds": 8.01, "peak_mb": 900}},
    "growth": {"runs": 500, "samples": [{"handles": 6}, {"handles": 6}, {"handles": 7}],
               "growth_per_run": {"megabytes": 0.00046, "objects": 6.3, "resident": 0.1}},
    "tracking": {"rounds": 7, "ms_per_step": 20.1, "arms": {
        "csv": {"step_ratio": 1.0, "run_longer_seconds": 0.0},
        "offline": {"step_ratio": 1.0008, "run_longer_seconds": -0.5},
        "black_hole": {"step_ratio": 1.0242, "run_longer_seconds": 2.31}}},
}  # fmt: skip


@pytest.fixture
def script(monkeypatch):
    """Pretends to be a script with these arguments."""

    def pretend(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"/somewhere/scripts/{name}", *arguments])

    return pretend


def test_every_figure_that_is_kept_is_said_with_load_and_commit(tmp_path, script, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.52, 1.0, 1.0))
    assert engine_section(tmp_path) == NOTHING
    for what, found in FOUND.items():
        script(f"measure_{what}.py", "--out", str(tmp_path))
        figures = Figures(what)
        figures.origin |= {"commit": "0123456789abcdef", "dirty": False}
        path = figures.keep(found, tmp_path)
    assert FOUND.keys() == SAID.keys()
    text = engine_section(tmp_path)
    assert f"[commands and all figures](results/{path.name})" in text
    for row in (
        "ablation of 2,000 runs that only sleep, 1 worker, journal | 78 ms of engine a run (first tenth 75, last tenth "
        "79); status 2.3 s, a start with nothing to do 2.5 s | 0.5 to 0.5 | 0123456789 |",
        "storage alone: journal, 400 trials, 1, 8 workers | 620, 512 trials/s, longest wait 4, 1,205 ms, at most 1,094 "
        "bytes a trial |",
        "folder of a finished run | capsnet 132.0 MB |",
        "commands on 10,000 run folders | status 6.2 s, sweep 8.0 s; at most 1,234 MB |",
        "500 runs in one process | +0.0005 MB in use and +6.3 objects a run; file handles from 6 to 7 |",
        "training with W&amp;B, a step's time over that with metrics.csv alone, median of 7 rounds | black hole 1.02, "
        "offline 1.00; the whole run at most +2.3 s |",
    ):
        assert row in text
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 2 + 6


def test_the_same_command_replaces_its_figures_and_another_does_not(tmp_path, script):
    for runs, arguments in ((500, []), (300, ["300"]), (400, [])):
        script("measure_growth.py", *arguments, "--out", str(tmp_path))
        path = Figures("growth").keep({**FOUND["growth"], "runs": runs}, tmp_path)
    measured = json.loads(path.read_text())["measurements"]
    assert {text: one["figures"]["runs"] for text, one in measured.items()} == {
        "python scripts/measure_growth.py": 400,
        "python scripts/measure_growth.py 300": 300,
    }


def test_a_figure_that_is_missing_is_named(tmp_path, script):
    script("measure_growth.py", "--out", str(tmp_path))
    Figures("growth").keep({"runs": 500}, tmp_path)
    with pytest.raises(CapsbenchError, match=r"engine-.*json: `python scripts/measure_growth.py`: KeyError: 'growth"):
        engine_section(tmp_path)


def test_without_a_folder_nothing_is_kept(script, tmp_path, capsys):
    script("measure_engine.py", "--runs", "20")
    assert command() == "python scripts/measure_engine.py --runs 20"
    assert Figures("engine").keep(FOUND["engine"], None) is None
    assert json.loads(capsys.readouterr().out)["figures"] == FOUND["engine"]
