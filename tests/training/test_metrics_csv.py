"""metrics.csv: wide rows, no gap and no double after a resume."""

import csv

import pytest

from capsbench.training.metrics_csv import MetricsCsv


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_wide_and_empty_where_nothing_was_logged(path):
    logger = MetricsCsv(path)
    logger.log_metrics({"epoch": 0, "seconds": 1.5, "train/loss": 0.25}, step=50)
    logger.log_metrics({"epoch": 0, "seconds": 2.0, "val/accuracy": 0.5}, step=60)
    logger.save()
    assert rows(path) == [
        {"step": "50", "epoch": "0", "seconds": "1.5", "train/loss": "0.25", "val/accuracy": ""},
        {"step": "60", "epoch": "0", "seconds": "2.0", "train/loss": "", "val/accuracy": "0.5"},
    ]


def test_two_logs_of_one_step_share_a_row(path):
    logger = MetricsCsv(path)
    logger.log_metrics({"train/loss": 0.25}, step=50)
    logger.log_metrics({"val/loss": 0.5}, step=50)
    logger.save()
    assert [(row["step"], row["train/loss"], row["val/loss"]) for row in rows(path)] == [("50", "0.25", "0.5")]


def test_numbers_keep_every_bit(path):
    value = 0.1 + 0.2
    logger = MetricsCsv(path)
    logger.log_metrics({"train/loss": value, "tiny": 1e-300}, step=1)
    logger.save()
    assert float(rows(path)[0]["train/loss"]) == value
    assert float(rows(path)[0]["tiny"]) == 1e-300


def test_nothing_is_written_before_save(path):
    logger = MetricsCsv(path)
    logger.log_metrics({"train/loss": 1.0}, step=1)
    assert not path.exists()
    logger.finalize("success")
    assert len(rows(path)) == 1


def test_a_resumed_run_appends(path):
    first = MetricsCsv(path)
    first.log_metrics({"train/loss": 1.0}, step=1)
    first.save()
    second = MetricsCsv(path)
    second.log_metrics({"train/loss": 0.5, "val/loss": 0.7}, step=2)
    second.save()
    assert [(row["step"], row["train/loss"], row["val/loss"]) for row in rows(path)] == [
        ("1", "1.0", ""),
        ("2", "0.5", "0.7"),
    ]


def test_rows_after_the_checkpoint_are_dropped_and_logged_again(path):
    first = MetricsCsv(path)
    for step in (2, 4, 6):
        first.log_metrics({"train/loss": float(step)}, step=step)
    first.save()
    second = MetricsCsv(path)
    second.drop_after(4)
    second.save()
    assert [row["step"] for row in rows(path)] == ["2", "4"]
    second.log_metrics({"train/loss": 6.5}, step=6)
    second.save()
    assert [row["train/loss"] for row in rows(path)] == ["2.0", "4.0", "6.5"]


def test_a_row_at_the_checkpoint_itself_is_completed(path):
    """A checkpoint may lie between an epoch's last training row and its validation."""
    first = MetricsCsv(path)
    first.log_metrics({"train/loss": 1.0}, step=5)
    first.save()
    second = MetricsCsv(path)
    second.drop_after(5)
    second.log_metrics({"val/loss": 2.0}, step=5)
    second.save()
    assert [(row["train/loss"], row["val/loss"]) for row in rows(path)] == [("1.0", "2.0")]


def test_saving_leaves_no_other_file(path):
    logger = MetricsCsv(path)
    logger.log_metrics({"train/loss": 1.0}, step=1)
    logger.save()
    logger.save()
    assert [item.name for item in path.parent.iterdir()] == ["metrics.csv"]
