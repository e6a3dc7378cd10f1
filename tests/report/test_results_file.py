"""A file of results says what its runs' folders say, in few bytes, and tells when it does not."""

import json

import numpy as np
import pytest

from capsbench.errors import CapsbenchError
from capsbench.report.collect import Predictions, RunRecord, RunState
from capsbench.report.packed import pack_predictions, unpack_predictions
from capsbench.report.report import markdown_report, study
from capsbench.report.results_check import read_checked
from capsbench.report.results_file import read_results_file, results_files, write_results_file
from report.fake_runs import Truth, fake_sweep, write_failure, write_runs

TRUTHS = {"capsnet_r3": Truth(40), "capsnet_r1": Truth(60), "cnn_max": Truth(500, capsules=False)}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    sweep = fake_sweep(seeds=(0, 1, 2), preset="small")
    write_runs(root, sweep, TRUTHS, images=800)
    write_failure(root, sweep, "cnn_none", 0, "no memory")
    return study(sweep, root)


@pytest.fixture
def path(analysis, tmp_path):
    return write_results_file(analysis, tmp_path / "results", ["trainer.epochs=2"])


def test_the_file_gives_the_same_report_as_the_runs(analysis, path):
    again, problems = read_checked(path)
    assert problems == []
    assert markdown_report(again) == markdown_report(analysis)
    assert path.name == "fake-small.json"
    assert results_files(path.parent) == {"fake-small": path}


def test_the_same_runs_give_the_same_bytes_and_few_of_them(analysis, path, tmp_path):
    assert write_results_file(analysis, tmp_path, ["trainer.epochs=2"]).read_bytes() == path.read_bytes()
    assert len(path.read_bytes()) < 60_000


def test_it_says_where_every_run_is_from(path):
    values = json.loads(path.read_text())
    assert values["command"] == "capsbench sweep fake --preset small trainer.epochs=2"
    run = next(run for run in values["runs"] if run["arm"] == "cnn_max" and run["seed"] == 2)
    assert run["provenance"]["commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert run["provenance"]["cpu"] == "Fake CPU 3000"
    assert run["provenance"]["packages"] == {"torch": "2.13.0", "numpy": "2.4.6"}
    assert (run["hash"], run["state"]) == ("1a2b3c4d", "done")
    assert run["metrics"]["time/wall_seconds"] == 90
    failed = next(run for run in values["runs"] if run["arm"] == "cnn_none" and run["seed"] == 0)
    assert (failed["state"], failed["reason"]) == ("failed", "no memory")
    arm = values["arms"][0]
    assert arm["published"]["value"] == 0.25
    assert arm["overrides"] == ["model.iterations=3"]
    verdict = values["comparisons"][1]
    assert verdict["text"].startswith("CNN, max pooling is worse than CapsNet, 3 iterations, by ")
    assert verdict["low"] > 0


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (("runs", 0, "metrics", "test/errors"), "capsnet_r3 seed 0: test/errors is 1, its predictions have"),
        (("runs", 0, "metrics", "affine/errors"), "capsnet_r3 seed 0: affine/errors is 1"),
        (("comparisons", 0, "text"), "its comparisons are not what its runs and predictions give"),
        (("arms", 0, "images"), "its arms are not"),
    ],
)
def test_a_number_that_was_changed_by_hand_is_found(path, where, found):
    values = json.loads(path.read_text())
    inner = values
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = 1
    path.write_text(json.dumps(values))
    assert any(found in problem for problem in read_checked(path)[1])


def test_labels_that_are_not_mnists_are_found(path):
    values = json.loads(path.read_text())
    for arm in values["arms"]:
        if arm["config"]:
            arm["config"]["data"] = {"name": "mnist"}
    path.write_text(json.dumps(values))
    assert any("labels are not those of MNIST" in problem for problem in read_checked(path)[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [("[]", "schema 1"), ("{", "cannot be read"), ('{"schema": 1, "kind": "ablation"}', "KeyError")],
)
def test_other_files_are_refused(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CapsbenchError, match=words):
        read_results_file(tmp_path / "x.json")


def test_damaged_predictions_are_refused(path):
    values = json.loads(path.read_text())
    values["predictions"][0]["classes"][0] = "AAAA" + values["predictions"][0]["classes"][0][4:]
    path.write_text(json.dumps(values))
    with pytest.raises(CapsbenchError, match="packed predictions cannot be read"):
        read_results_file(path)


def test_nothing_is_written_before_anything_is_done(tmp_path):
    with pytest.raises(CapsbenchError, match="no run of fake is done"):
        write_results_file(study(fake_sweep(), tmp_path), tmp_path)


def test_predictions_of_several_test_sets_come_back_as_they_were():
    rng = np.random.default_rng(0)

    def run(arm, seed, images, **more):
        label, last = (rng.integers(0, 10, images).astype(np.uint8) for _ in range(2))
        return RunRecord(arm, seed, RunState.done, predictions=Predictions(label, last, **more))

    image = np.sort(rng.choice(50, 30)).astype(np.int32)
    affine = {"affine_label": image.astype(np.uint8) % 10, "affine_predicted": image.astype(np.uint8) % 7}
    runs = [run("a", 0, 50), run("a/b", 11, 80, affine_image=image, **affine), run("c", 0, 50, selected=None)]
    wide = Predictions(np.arange(300, dtype=np.uint16), np.arange(300, dtype=np.uint16))
    found = unpack_predictions(pack_predictions([*runs, RunRecord("wide", 0, RunState.done, predictions=wide)]))
    assert set(found) == {("a", 0), ("a/b", 11), ("c", 0)}
    for one in runs:
        for name, value in vars(one.predictions).items():
            np.testing.assert_array_equal(getattr(found[one.arm, one.seed], name), value)
