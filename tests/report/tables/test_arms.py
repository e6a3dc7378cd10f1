"""The arms' table holds what was measured, and says what it means."""

import pytest

from capsbench.report.report import study
from capsbench.report.tables.arms import arms_table
from capsbench.report.tables.cells import plus_minus, published_cell
from capsbench.report.tables.runs import runs_table
from capsbench.sweep_file import Published
from report.fake_runs import Truth, fake_sweep, write_runs


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    root, sweep = tmp_path_factory.mktemp("runs"), fake_sweep(seeds=(0, 1, 2))
    slow = Truth(300, capsules=False, parameters=1_000, macs=4e6)
    write_runs(root, sweep, {"capsnet_r3": Truth(25, decoder=True), "cnn_max": slow}, images=2_000)
    return study(sweep, root)


def cells(analysis, arm):
    table = arms_table(analysis)
    row = next(row for row in table.rows if row[0].text == arm)
    return {column.header: cell for column, cell in zip(table.columns, row, strict=True)}


def test_every_arm_has_a_row_and_every_asked_column(analysis):
    table = arms_table(analysis)
    assert [row[0].text for row in table.rows] == [arm.label for arm in analysis.ablation.sweep.arms.values()]
    headers = {column.header for column in table.columns}
    assert headers >= {
        "seeds",
        "test error % (last epoch)",
        "95 % interval",
        "errors by seed",
        "error % (validation-selected epoch)",
        "published",
        "affine accuracy %",
        "rotation AUC",
        "scale AUC",
        "shear AUC",
        "translation AUC",
        "ECE %",
        "parameters",
        "MACs (M)",
        "seconds / epoch",
        "images / s",
        "seconds to 99 % validation",
        "peak memory (MB)",
    }


def test_numbers_are_those_of_the_runs(analysis):
    runs = analysis.ablation.arms["capsnet_r3"].done
    row = cells(analysis, "CapsNet, 3 iterations")
    counts = [round(run.metrics["test/errors"]) for run in runs]
    error = row["test error % (last epoch)"]
    assert error.numbers["mean"] == pytest.approx(100 * sum(counts) / 3 / 2_000)
    assert error.numbers["max"] == pytest.approx(100 * max(counts) / 2_000)
    assert row["errors by seed"].text == ", ".join(map(str, counts))
    assert row["parameters"].text == "8,215,728"
    assert row["MACs (M)"].text == "200.0"
    assert row["published"].text == "0.25 ± 0.005 (Sabour 2017, Table 1; published)"
    selected = row["error % (validation-selected epoch)"].numbers["mean"]
    assert selected == pytest.approx(sum(100 * (1 - run.metrics["test_selected/accuracy"]) for run in runs) / 3)


def test_missing_is_shown_as_missing(analysis):
    absent = cells(analysis, "CNN without pooling")
    assert absent["seeds"].text == "0 of 3"
    assert absent["test error % (last epoch)"].text == "–"
    slow = cells(analysis, "CNN, max pooling")
    assert slow["seconds to 99 % validation"].text == "not reached"
    assert slow["coupling entropy (1: uniform)"].text == "–"


def test_many_seeds_are_summed_up(tmp_path):
    sweep = fake_sweep(seeds=tuple(range(13)))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(25)}, images=1_000)
    found = study(sweep, tmp_path)
    counts = found.arms["capsnet_r3"].counts.values()
    assert cells(found, "CapsNet, 3 iterations")["errors by seed"].text == f"{min(counts)} to {max(counts)}"


def test_the_caption_says_what_everything_is(analysis):
    caption = arms_table(analysis).caption
    for words in ("standard deviation", "3 seeds", "t-intervals", "last epoch", "selects nothing", "Published"):
        assert words in caption


def test_every_run_is_listed(analysis):
    table = runs_table(analysis.ablation)
    assert len(table.rows) == 12
    assert sum(row[2].text == "missing" for row in table.rows) == 6


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.25, 0.034, "0.250 ± 0.034"),
        (12.3, 1.26, "12.30 ± 1.26"),
        (99.5, 0.0, "99.50 ± 0.00"),
        (2.1, 4e-16, "2.10 ± 0.00"),
        (1.5, float("nan"), "1.50"),
        (1234.5, 20.0, "1,234.50 ± 20.00"),
    ],
)
def test_plus_minus(mean, sd, text):
    assert plus_minus(mean, sd, 2) == text


def test_published_numbers_in_other_units():
    assert published_cell(Published(79.0, unit="affNIST accuracy %", how="recalled, unverified")).text == (
        "79 affNIST accuracy % (recalled, unverified)"
    )
    assert published_cell(None).text == "–"
