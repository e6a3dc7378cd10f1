"""What is kept of a search, and its best configuration as an experiment."""

import json

import pytest
import yaml

from capsbench.compose import compose
from capsbench.config import run_hash
from capsbench.errors import CapsbenchError
from capsbench.report.search_experiment import experiment_text, write_experiment
from capsbench.report.search_file import write_search_file
from report.fake_search import PAIR, design, record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def found(folder):
    return record(folder, design(folder), 16, pruned=3, failed=2)


def test_the_file_has_every_trial_and_nothing_of_the_test_images(found, folder, tmp_path):
    values = json.loads((folder / "search.json").read_text())
    path = write_search_file(values, found, tmp_path)
    kept = json.loads(path.read_text())
    assert (kept["kind"], kept["command"]) == ("search", "capsbench sweep fake_search")
    assert len(kept["trials"]) == 21
    assert kept["best"] == [found.winners[0].number]
    assert "test/" not in path.read_text()
    assert str(folder) not in path.read_text()
    assert write_search_file(values, found, tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_experiment_is_the_configuration_of_the_best_trial(found, tmp_path):
    path = write_experiment(found, tmp_path / "search" / "best.yaml")
    text = path.read_text()
    best = found.winners[0]
    assert f"# Source: trial {best.number} of `capsbench sweep fake_search`, the best of 16 complete ones." in text
    assert "# Command: capsbench train experiment=search/best -m seed=100," in text
    assert f"# Time and hardware: {best.metrics['time/train_seconds']:.0f} s of training on " in text
    values = yaml.safe_load(text)
    assert values["run"] == {"group": "search", "arm": "best"}
    assert {"override /model": "cnn_small"} in values["defaults"]
    overrides = [f"model={values['defaults'][0]['override /model']}", f"trainer.epochs={values['trainer']['epochs']}"]
    overrides += [
        f"{group}.{name}={value}" for group in ("model", "optimizer") for name, value in values[group].items()
    ]
    assert run_hash(compose(overrides)) == run_hash(compose(list(best.overrides)))


def test_nothing_is_written_where_no_configuration_is_best(folder, tmp_path):
    several = record(tmp_path, design(tmp_path, PAIR), 4)
    with pytest.raises(CapsbenchError, match="has 2 objectives"):
        write_experiment(several, tmp_path / "best.yaml")
    none = record(tmp_path, design(tmp_path), 0, pruned=2)
    with pytest.raises(CapsbenchError, match=r"no trial of .* is complete"):
        write_experiment(none, tmp_path / "best.yaml")
    with pytest.raises(CapsbenchError, match=r"no trial of .* is complete"):
        write_search_file({}, none, tmp_path)
    with pytest.raises(CapsbenchError, match=r"must end in \.yaml"):
        write_experiment(none, tmp_path / "best")


def test_the_last_value_of_a_key_counts_and_how_trials_were_run_is_left_out(found):
    text = experiment_text(found, found.winners[0], "search", "best")
    values = yaml.safe_load(text)
    assert values["trainer"] == {"epochs": 3}
    assert "g" not in values["run"].values()
    assert "seed" not in values
