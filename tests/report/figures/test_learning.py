"""Learning curves are read from metrics.csv."""

import numpy as np

from capsbench.report.figures.learning import read_history


def test_rows_without_validation_are_passed_over(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "step,epoch,seconds,train/loss,val/accuracy\n10,0,1.5,0.3,\n20,0,2.5,,0.9\n30,1,3.5,0.2,\n40,1,5.0,,0.95\n"
    )
    np.testing.assert_allclose(read_history(path), [[0, 2.5, 10], [1, 5.0, 5]])
    path.write_text("step,epoch,seconds\n")
    assert read_history(path).shape == (0, 3)
