"""A finished run evaluated again: what it measured of itself stays, and other data have a folder of their own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from capsbench.data import splits as data_splits
from capsbench.data.splits import Splits
from capsbench.errors import CapsbenchError
from capsbench.training import train
from capsbench.training.evaluate import evaluate_elsewhere, evaluate_run
from capsbench.training.runs import RunFolder, run_folder
from tiny import tiny_config, tiny_splits


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A small CapsNet on images padded to 32 by 32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_splits", lambda _: tiny_splits())
        cfg = tiny_config(tmp_path_factory.mktemp("made") / "runs", "data.pad=2", "model.stem_kernel=11")
        train.run(cfg)
    return run_folder(cfg).path


@pytest.fixture
def run(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "runs" / "train" / made.parent.name / "seed00")


def other_splits(side: int = 28, channels: int = 1, classes: tuple[str, ...] = tuple("0123456789")) -> Splits:
    """Inverted images, in another size."""
    found = tiny_splits(test=20)
    images = {
        name: torch.nn.functional.pad(255 - getattr(found, name), [(side - 28) // 2] * 4).repeat(1, channels, 1, 1)
        for name in ("train_images", "validation_images", "test_images")
    }
    return replace(found, **images, classes=classes)


@pytest.fixture
def other(monkeypatch):
    def use(splits: Splits) -> None:
        monkeypatch.setattr(data_splits, "load_splits", lambda _: splits)

    return use


def test_what_the_run_measured_of_itself_stays(run, monkeypatch):
    monkeypatch.setattr(train, "load_splits", lambda _: tiny_splits())
    path = run / "result.json"
    before = json.loads(path.read_text())
    before["metrics"] |= {"time/wall_seconds": 1234.5, "cost/peak_memory_mb": 77.0}
    before["provenance"] |= {"commit": "f" * 40, "finished": "2020-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(before))
    origin = (run / "provenance.json").read_bytes()
    after = evaluate_run(run, ["evaluation.routing_images=10"])
    for name, value in before["metrics"].items():
        assert after["metrics"][name] == value, name
    assert "routing/coupling_entropy" in after["metrics"]
    evaluated = after["provenance"].pop("evaluated")
    assert after["provenance"] == before["provenance"]
    assert evaluated["started"] > before["provenance"]["finished"]
    assert (run / "provenance.json").read_bytes() == origin


def test_other_data_are_kept_apart(run, other):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    splits = other_splits()
    other(splits)
    folder, result = evaluate_elsewhere(run, "kmnist", ["evaluation.routing_images=5"])
    assert folder.parent == run / "evaluations"
    assert folder.name.startswith("kmnist_")
    assert before == {path: path.read_bytes() for path in before}
    assert result == RunFolder(folder).result()
    assert result["test_images"] == 20
    assert result["run"] == RunFolder(run).result()["run"]
    assert result["config"]["data"]["name"] == "kmnist"
    assert result["config"]["data"]["pad"] == 2
    assert not [name for name in result["metrics"] if name.startswith(("time/", "val", "cost/"))]
    assert "routing/coupling_entropy" in result["metrics"]
    with np.load(folder / "predictions.npz") as arrays:
        assert arrays["test_label"].tolist() == splits.test_labels.tolist()
        wrong = (arrays["test_label"] != arrays["test_predicted"]).sum()
    assert result["metrics"]["test/errors"] == wrong
    again, same = evaluate_elsewhere(run, "kmnist", ["evaluation.routing_images=5"])
    assert again == folder
    assert same["metrics"] == result["metrics"]
    assert evaluate_elsewhere(run, "kmnist", [])[0] != folder


def test_the_runs_own_data_give_the_runs_own_numbers(run, other):
    other(tiny_splits())
    metrics = RunFolder(run).result()["metrics"]
    _, result = evaluate_elsewhere(run, "mnist", [])
    assert {name: metrics[name] for name in result["metrics"] if name.startswith("test")} == {
        name: value for name, value in result["metrics"].items() if name.startswith("test")
    } | {name: metrics[name] for name in ("test/margin_loss", "test/loss") if name in result["metrics"]}


def test_images_as_large_as_the_network_takes_them_need_no_padding(run, other):
    other(other_splits(side=32))
    _, result = evaluate_elsewhere(run, "affnist", [])
    assert result["config"]["data"]["pad"] == 0


def test_what_does_not_fit_is_refused(run, other):
    for splits, words, problem in (
        (other_splits(side=40), [], r"has images of 1 x 40 x 40 .* takes 1 x 32 x 32; data\.size=32"),
        (other_splits(channels=3), [], r"images of 3 x 32 x 32"),
        (other_splits(), ["data.pad=0"], r"images of 1 x 28 x 28"),
        (other_splits(classes=("a", "b")), [], "has 2 classes, but the run tells 10 apart"),
    ):
        other(splits)
        with pytest.raises(CapsbenchError, match=problem):
            evaluate_elsewhere(run, "usps", words)
    assert not (run / "evaluations").exists()
    with pytest.raises(CapsbenchError, match="did you mean"):
        evaluate_elsewhere(run, "mnsit", [])
    with pytest.raises(CapsbenchError, match="another run"):
        evaluate_elsewhere(run, "mnist", ["seed=3"])
    (run / "best.ckpt").unlink()
    with pytest.raises(CapsbenchError, match=r"no best\.ckpt any more"):
        evaluate_elsewhere(run, "mnist", [])


def test_other_names_of_classes_are_pointed_out(run, other, caplog):
    other(other_splits(classes=tuple("abcdefghij")))
    _, result = evaluate_elsewhere(run, "kmnist", [])
    assert "taken for each other by their places" in caplog.text
    assert result["images"]["classes"] == list("abcdefghij")
