"""The comparisons' table."""

from capsbench.report.report import study
from capsbench.report.tables.comparisons import comparisons_table
from report.fake_runs import Truth, fake_sweep, write_runs


def test_declared_and_exploratory_pairs(tmp_path):
    sweep = fake_sweep(comparisons=(("capsnet_r3", "cnn_max"), ("capsnet_r3", "cnn_none")))
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(25), "cnn_max": Truth(90)})
    analysis = study(sweep, tmp_path)
    table = comparisons_table(analysis, analysis.declared, "Declared", "")
    headers = [column.header for column in table.columns]
    first, second = (dict(zip(headers, row, strict=True)) for row in table.rows)
    assert first["verdict"].text == "B worse"
    assert first["seeds"].numbers == {"A": 10, "B": 10}
    assert first["p Holm"].numbers[""] == analysis.declared[0].p_holm
    assert first["95 % interval"].numbers["low"] < 0.65 < first["95 % interval"].numbers["high"]
    assert second["verdict"].text == "not comparable yet"
    assert second["p"].text == "–"

    exploratory = comparisons_table(analysis, analysis.exploratory, "Exploratory", "")
    names = [column.header for column in exploratory.columns]
    assert "verdict" not in names
    assert "p Holm" not in names
