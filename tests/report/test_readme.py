"""The README's results come from the committed files alone."""

import json

import pytest

from capsbench.errors import CapsbenchError
from capsbench.report.claim_table import CLAIMS
from capsbench.report.claims import judge_all
from capsbench.report.claims_file import write_claims_file
from capsbench.report.readme import NOTHING, draw_picture, results_section, with_results
from capsbench.report.report import study
from capsbench.report.results_file import write_results_file
from capsbench.report.speed_section import speed_section
from report.fake_runs import PROVENANCE, Truth, fake_sweep, write_runs

README = """# Mine
<!-- picture: begin -->
<!-- picture: end -->
<!-- results: begin -->
old
<!-- results: end -->
between
<!-- speed: begin, old -->
<!-- speed: end -->
<!-- engine: begin -->
<!-- engine: end -->
after
"""


@pytest.fixture
def results(tmp_path):
    sweep = fake_sweep(name="table1", preset="cpu", seeds=(0, 1, 2))
    write_runs(tmp_path / "runs", sweep, {"capsnet_r3": Truth(40), "cnn_max": Truth(500)}, images=800)
    analysis = study(sweep, tmp_path / "runs")
    write_results_file(analysis, tmp_path / "results")
    write_claims_file(judge_all({}, CLAIMS[:2]), tmp_path / "results")
    return tmp_path / "results"


def test_without_results_it_says_that_nothing_has_been_run(tmp_path):
    text = with_results(README, tmp_path)
    assert NOTHING in text
    assert "Not measured yet" in text
    assert "old" not in text
    assert "\nbetween\n" in text
    assert text.endswith("\nafter\n")
    assert with_results(text, tmp_path) == text


def test_ours_stand_beside_what_was_published_and_each_is_marked(results):
    text = results_section(results)
    row = next(line for line in text.splitlines() if line.startswith("| CapsNet, 3 iterations"))
    assert "*0.25 ± 0.005 (Sabour 2017, Table 1; published)*" in row
    assert "ours: error %" in text
    assert "*published: error %*" in text
    assert "`capsbench sweep table1 --preset cpu`; 6 of 12 runs, seeds 0, 1, 2; commit 0123456789; Fake CPU" in text
    assert "\n\nCNN, max pooling is worse than CapsNet, 3 iterations" in text
    assert "| Max pooling throws away where things are. | **not yet run** | – | `capsbench sweep pooling` |" in text
    assert "[table1-cpu](results/table1-cpu.json) (6 of 12)" in text


def test_a_sweep_of_one_arm_is_a_sentence_in_which_published_numbers_are_marked(tmp_path):
    arms = {"capsnet_r3": fake_sweep().arms["capsnet_r3"]}
    sweep = fake_sweep(arms, name="table1", seeds=(0,), comparisons=())
    write_runs(tmp_path / "runs", sweep, {"capsnet_r3": Truth(40)}, images=800)
    write_results_file(study(sweep, tmp_path / "runs"), tmp_path / "results")
    text = results_section(tmp_path / "results")
    assert ": CapsNet, 3 iterations: ours: error % " in text
    assert "; *published: error %* *0.25 ± 0.005 (Sabour 2017, Table 1; published)*." in text
    assert "|" not in text


def test_results_that_contradict_themselves_are_refused(results):
    path = results / "table1-cpu.json"
    values = json.loads(path.read_text())
    values["runs"][0]["metrics"]["test/errors"] += 1
    path.write_text(json.dumps(values))
    with pytest.raises(CapsbenchError, match=r"table1-cpu.json: capsnet_r3 seed 0: test/errors"):
        results_section(results)


def test_a_picture_is_shown_once_it_is_there(tmp_path):
    assert "report.png" not in with_results(README, tmp_path)
    (tmp_path / "report.png").write_bytes(b"")
    assert f"]({tmp_path.name}/report.png)\n<!-- picture: end -->" in with_results(README, tmp_path)


def test_the_picture_is_drawn_from_a_file_of_results(results):
    path = draw_picture(results, "table1-cpu")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "](results/report.png)" in with_results(README, results)
    with pytest.raises(CapsbenchError, match=r"no table1\.json in .*; there are: table1-cpu"):
        draw_picture(results, "table1")


def test_a_search_stands_beside_the_points_that_were_asked_for(tmp_path):
    trial = {"state": "complete", "values": {"val/loss": 0.01234567}, "params": {"optimizer.lr": 0.001}}
    trials = [
        {**trial, "trial": 0, "baseline": True},
        {**trial, "trial": 4, "baseline": False, "params": {"optimizer.lr": 0.00456789, "model.dropout": 0.5}},
        {"trial": 5, "state": "pruned", "baseline": False},
    ]
    values = {"schema": 1, "kind": "search", "study": "s", "title": "S", "objectives": {"val/loss": "minimize"}}
    values |= {"command": "capsbench sweep s", "best": [4], "trials": trials, "provenance": [PROVENANCE]}
    (tmp_path / "s.json").write_text(json.dumps(values))
    text = results_section(tmp_path)
    assert "(`capsbench sweep s`; 2 complete, 1 pruned; Fake CPU 3000, 2 cores; commit 0123456789), by val/loss" in text
    assert "| best, trial 4 | 0.004568 | 0.5 | 0.01235 |" in text
    assert "| asked for, trial 0 | 0.001 | – | 0.01235 |" in text


def test_speed_is_against_the_slowest(tmp_path):
    arms = [
        {
            "arm": name,
            "ms": ms,
            "ms_low": ms - 1,
            "ms_high": ms + 1,
            "images_per_second": 128e3 / ms,
            "eval_images_per_second": 512e3 / ms,
            "epoch_seconds": ms / 2,
            "peak_memory_mb": memory,
        }
        for name, ms, memory in (("eager", 100.0, 219.4), ("naive", 400.0, None))
    ]
    result = {"arms": arms, "batch": 128, "precision": "32-true", "rounds": 5, "provenance": PROVENANCE}
    result["speed_over"] = {"eager": {}, "naive": {"eager": 4.0, "naive": 1.0}}
    (tmp_path / "bench-fake.json").write_text(json.dumps(result))
    text = speed_section(tmp_path)
    assert "| eager | 100 [99, 101] | 1,280 | 5,120 | 50 | 219 | 4.0 |" in text
    assert "| naive | 400 [399, 401] | 320 | 1,280 | 200 |  | 1.0 |" in text
    assert "times as fast as naive" in text
    assert "Fake CPU 3000, 2 cores, torch 2.13.0, batch 128" in text
    assert "besides" not in text

    (tmp_path / "bench-fake-routing.json").write_text(json.dumps({**result, "name": "routing"}))
    head, links, *table = speed_section(tmp_path).split("\n")
    assert [head, *table] == text.split("\n")
    assert links == (
        "Measured besides: [routing: Fake CPU 3000, 2 cores, torch 2.13.0, batch 128, 32-true, 5 rounds in turns, "
        f"commit 0123456789]({tmp_path.name}/bench-fake-routing.json)."
    )


def test_the_newest_machine_has_the_table(tmp_path):
    arm = {"arm": "eager", "ms": 1.0, "ms_low": 1.0, "ms_high": 1.0, "images_per_second": 1.0, "epoch_seconds": 1.0}
    arm |= {"eval_images_per_second": 1.0, "peak_memory_mb": None}
    shared = {"arms": [arm], "batch": 128, "precision": "32-true", "rounds": 5, "speed_over": {"eager": {"eager": 1.0}}}
    for name, day in (("a", "2026-11-02"), ("b", "2026-11-03"), ("c", "2026-11-01")):
        provenance = {**PROVENANCE, "cpu": f"CPU {name}", "finished": f"{day}T10:00:00Z"}
        (tmp_path / f"bench-{name}.json").write_text(json.dumps({**shared, "provenance": provenance}))
    head, links, *_ = speed_section(tmp_path).split("\n")
    assert head.startswith("CPU b, 2 cores")
    assert [f"CPU {name}" in links for name in "abc"] == [True, False, True]


def test_a_readme_without_its_marks_is_refused(tmp_path):
    with pytest.raises(CapsbenchError, match="section between <!-- speed: begin -->"):
        with_results(README.replace("speed: end", "end"), tmp_path)
