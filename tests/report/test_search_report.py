"""The report of a search, from studies whose truth is known."""

import json
import shlex

import pytest

from capsbench.compose import compose
from capsbench.config import run_hash
from capsbench.report.figures.search_history import best_so_far, history_plate
from capsbench.report.figures.search_space import front_plate, importance_plate, parallel_plate
from capsbench.report.search import FRESH_SEEDS, Axis, command, read_search, search_concerns, search_status
from capsbench.report.search_report import search_markdown, search_text, write_search_report
from capsbench.studies.summary import write_summary
from report.fake_search import PAIR, design, record
from report.test_report import HOSTILE, Page


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return record(folder, design(folder), 16, pruned=3, failed=2)


def test_everything_is_written_and_visible(found, tmp_path):
    index = write_search_report(found, tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{form}" for name in ("history", "importance", "parallel") for form in ("svg", "png")}
    assert names == {"index.html", "table.md", "table.csv", "table.tex", "trials.csv"} | figures
    page = Page(index.read_text())
    best = min(found.complete, key=lambda trial: trial.values["val/loss"])
    for text in (page.text, search_markdown(found)):
        assert "16 complete, 3 pruned (ended early), 2 failed" in text
        assert "reason of 2 failed trials: boom" in text
        assert "ended after epoch 1" in text
        assert command(best) in text
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 22
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_search_report(found, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_the_best_is_the_best_and_its_command_is_its_configuration(found):
    (winner,) = found.winners
    assert winner.values["val/loss"] == min(trial.values["val/loss"] for trial in found.complete)
    words = shlex.split(command(winner))
    assert words[:2] == ["capsbench", "train"]
    assert run_hash(compose(words[2:])) == run_hash(compose(list(winner.overrides)))
    assert not any(word.startswith(("run.", "seed=")) for word in words)
    fresh = shlex.split(command(winner, fresh=True))
    assert fresh[2] == "-m"
    assert fresh[-1] == f"seed={','.join(map(str, FRESH_SEEDS))}"
    assert command(winner, fresh=True) in search_text(found)


def test_nothing_of_the_test_images_is_shown_or_kept(tmp_path):
    values = write_summary(None, design(tmp_path), tmp_path)
    assert not (tmp_path / "search.json").exists()
    search = design(tmp_path)
    shown = record(tmp_path, search, 4)
    assert "test/" not in (tmp_path / "search.json").read_text()
    assert "test/errors" not in search_markdown(shown)
    assert values["trials"] == []


@pytest.mark.parametrize(("complete", "pruned", "failed"), [(0, 0, 0), (0, 2, 3), (1, 0, 0), (1, 1, 1), (2, 0, 0)])
def test_few_trials_are_said_to_be_few(tmp_path, complete, pruned, failed):
    shown = record(tmp_path, design(tmp_path), complete, pruned=pruned, failed=failed)
    page = Page(write_search_report(shown, tmp_path / "out").read_text())
    few = f"{complete} complete trial{'' if complete == 1 else 's'}: too few to compare anything"
    assert (few in page.text) == (complete < 2)
    assert (parallel_plate(shown) is None) == (complete < 2)
    assert importance_plate(shown) is None
    assert front_plate(shown) is None
    assert (history_plate(shown) is None) == (complete == 0)
    assert ("No trial is complete yet" in page.text) == (complete == 0)


def test_nothing_has_been_started(tmp_path):
    shown = read_search(write_summary(None, design(tmp_path), tmp_path))
    assert search_status(shown) == "0 of 20 trials ended"
    page = Page(write_search_report(shown, tmp_path / "out").read_text())
    assert "img" not in page.tags
    assert "0.0001 to 0.1, logarithmic" in page.text
    assert "where optimizer.schedule is exponential" in page.text


def test_two_objectives_have_a_front(tmp_path):
    shown = record(tmp_path, design(tmp_path, PAIR), 14)
    points = {
        trial.number: (-trial.values["val/accuracy"], trial.values["time/train_seconds"]) for trial in shown.complete
    }
    front = {
        number
        for number, one in points.items()
        if not any(all(a <= b for a, b in zip(two, one, strict=True)) and two != one for two in points.values())
    }
    assert set(shown.best) == front
    assert len(front) > 1
    plate = front_plate(shown)
    assert plate is not None
    assert f"{len(front)} of them on the front" in plate.alt
    page = Page(write_search_report(shown, tmp_path / "out").read_text())
    assert "Pareto front" in page.text
    assert len(page.images) == 4


def test_importance_knows_which_way_is_up(tmp_path):
    """A search for high accuracy and one for low loss of the same trials agree on what mattered."""
    low = record(tmp_path, design(tmp_path), 30).importance["val/loss"]
    high = record(tmp_path, design(tmp_path, PAIR), 30).importance["val/accuracy"]
    assert low == pytest.approx(high)
    assert low["optimizer.lr"] > low["model.dropout"]


def test_what_breaks_a_constraint_cannot_win(tmp_path):
    shown = record(tmp_path, design(tmp_path, constraints="{time/train_seconds: 30.0}"), 12)
    assert all(trial.metrics["time/train_seconds"] <= 30 for trial in shown.winners)
    broken = sum(trial.metrics["time/train_seconds"] > 30 for trial in shown.complete)
    assert f"{broken} complete trials break the constraints" in " ".join(search_concerns(shown))
    known = {trial.number for trial in shown.complete if trial.feasible}
    assert {number for number, _ in best_so_far(shown, "val/loss")} == known


def test_best_so_far_never_gets_worse(found):
    values = [value for _, value in best_so_far(found, "val/loss")]
    assert values == sorted(values, reverse=True)
    assert values[-1] == found.winners[0].values["val/loss"]


def test_places_on_an_axis():
    assert Axis(1e-4, 1e-2, log=True).place(1e-3) == pytest.approx(0.5)
    assert Axis(0, 4).place(1) == 0.25
    assert Axis(0, 0).place(0) == 0.5
    choices = Axis(0, 2, choices=("max", "True", "3"))
    assert [choices.place(value) for value in ("max", True, 3, "none")] == [0, 0.5, 1, None]
    assert Axis(0, 1).place(None) is None


def test_hostile_names_are_text(tmp_path):
    shown = record(tmp_path, design(tmp_path, title=json.dumps(HOSTILE)), 3, failed=2, error=HOSTILE)
    page = Page(write_search_report(shown, tmp_path / "out").read_text())
    assert "script" not in page.tags
    assert HOSTILE in page.texts
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in (tmp_path / "out" / "table.md").read_text()
    assert "\\input" not in (tmp_path / "out" / "table.tex").read_text()
    formula = record(tmp_path, design(tmp_path), 2, failed=1, error="=HYPERLINK(1)")
    write_search_report(formula, tmp_path / "formula")
    assert ",'=HYPERLINK(1)" in (tmp_path / "formula" / "trials.csv").read_text()
