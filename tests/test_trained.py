"""A finished run as a model, a safetensors file and a row of a table; evaluated again on other questions."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import capsbench
from capsbench import load_run
from capsbench.errors import CapsbenchError
from capsbench.report.flatten import write_results
from capsbench.stored_config import stored_config, with_overrides
from capsbench.trained import export
from capsbench.training import train
from capsbench.training.evaluate import evaluate_run
from capsbench.training.runs import RunFolder, find_runs, run_folder
from tiny import CNN, tiny_config, tiny_splits


@pytest.fixture(scope="module")
def splits():
    return tiny_splits()


@pytest.fixture(scope="module", autouse=True)
def tiny_data(splits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_splits", lambda _: splits)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_data) -> Path:
    """A small CapsNet on padded images, and a CNN beside it."""
    root = tmp_path_factory.mktemp("made") / "runs"
    cfg = tiny_config(root, "data.pad=2", "evaluation.reconstructions=2", "model.stem_kernel=11")
    train.run(cfg)
    train.run(tiny_config(root, "data.standardize=true", model=CNN))
    return run_folder(cfg).path


def answers(folder: Path) -> np.ndarray:
    with np.load(folder / "predictions.npz") as arrays:
        return arrays["test_predicted"], arrays["test_predicted_selected"]


def test_arrays_are_as_good_as_tensors(finished, splits):
    """Users have NumPy arrays, bytes or doubles."""
    model = load_run(finished)
    expected = model.predict(splits.test_images).tolist()
    pixels = splits.test_images.numpy()
    assert model.predict(pixels).tolist() == expected
    assert model.predict(pixels / 255).tolist() == expected


def test_three_lines_give_the_predictions_of_the_run(finished, splits):
    for run in find_runs(finished.parents[2]):
        last, selected = answers(run.path)
        model = load_run(run.path)
        assert model.predict(splits.test_images).tolist() == last.tolist()
        best = load_run(str(run.path), "selected")
        assert best.predict(splits.test_images, batch_size=7).tolist() == selected.tolist()
        assert not model.training
        assert (model.shape, model.classes) == ((1, 28, 28), tuple("0123456789"))
        torch.testing.assert_close(model(splits.test_images).scores, model(splits.test_images / 255).scores)


def test_the_package_imports_without_pytorch():
    code = "import capsbench, sys; assert 'torch' not in sys.modules; capsbench.load_run; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        _ = capsbench.nothing


def test_a_moved_run_is_loaded_and_a_changed_one_refused(finished, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "elsewhere" / "group" / finished.parent.name / "seed00")
    assert load_run(moved).config.run.group == "group"
    config = moved / "config.yaml"
    config.write_text(config.read_text().replace("stem_kernel: 11", "stem_kernel: 9"))
    with pytest.raises(CapsbenchError, match=r"config\.yaml: no configuration of this version .*as CapsNet it is"):
        load_run(moved)
    config.unlink()
    with pytest.raises(CapsbenchError, match="not a run's folder"):
        load_run(moved)


def test_mistakes_are_named(finished, tmp_path):
    model = load_run(finished)
    with pytest.raises(CapsbenchError, match=r"expected images of 1 x 28 x 28 .* found 3 x 28 x 28"):
        model.predict(torch.zeros(1, 3, 28, 28))
    with pytest.raises(CapsbenchError, match="valid: last, selected"):
        load_run(finished, "best")
    copy = shutil.copytree(finished, tmp_path / "g" / finished.parent.name / "seed00")
    (copy / "result.json").unlink()
    with pytest.raises(CapsbenchError, match="has not come to that"):
        load_run(copy)
    with pytest.raises(CapsbenchError, match="only a finished run"):
        evaluate_run(copy, [])


def test_a_checkpoint_that_would_run_code_is_refused(finished, tmp_path):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    copy = shutil.copytree(finished, tmp_path / "g" / finished.parent.name / "seed00")
    torch.save({"model": Payload()}, copy / "last.ckpt")
    with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
        load_run(copy)
    assert not (tmp_path / "ran").exists()


def test_safetensors_hold_the_model_and_how_to_build_it(finished, tmp_path, splits):
    for run in find_runs(finished.parents[2]):
        out = tmp_path / f"{run.path.parent.name}.safetensors"
        export(run.path, out)
        again = load_run(out)
        assert again.predict(splits.test_images).tolist() == answers(run.path)[0].tolist()
        assert again.config.model == load_run(run.path).config.model
    from safetensors import safe_open

    with safe_open(out, "pt") as file:
        about = json.loads(file.metadata()["capsbench"])
    assert about["run"]["id"] == RunFolder(run.path).result()["run"]["id"]
    assert about["config"]["data"]["standardize"] is True
    out.write_bytes(b"no such format")
    with pytest.raises(CapsbenchError, match="not a readable safetensors file"):
        load_run(out)
    with pytest.raises(CapsbenchError, match=r"must end in \.safetensors"):
        export(finished, tmp_path / "model.bin")


def test_evaluated_again_without_training(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "runs" / "train" / finished.parent.name / "seed00")
    before, weights = RunFolder(run).result(), (run / "best.ckpt").read_bytes()
    assert "routing/coupling_entropy" not in before["metrics"]
    result = evaluate_run(run, ["evaluation.routing_images=10", "evaluation.perturbations=2"])
    assert 0 < result["metrics"]["routing/coupling_entropy"] <= 1
    assert result["metrics"]["test/errors"] == before["metrics"]["test/errors"]
    assert result["run"] == before["run"]
    assert result == RunFolder(run).result()
    assert result["evaluation"] != before["evaluation"]
    assert np.array(result["figures"]["routing"]["coupling_map"]).ndim == 4
    with np.load(run / "pictures.npz") as arrays:
        assert arrays["perturbed"].shape == (2, 4, 11, 1, 32, 32)
    assert (run / "best.ckpt").read_bytes() == weights
    (run / "last.ckpt").unlink()
    with pytest.raises(CapsbenchError, match=r"no last\.ckpt any more"):
        evaluate_run(run, [])


def test_overrides_change_the_evaluation_alone(finished):
    cfg = stored_config(finished)
    changed = with_overrides(cfg, ["evaluation=standard", "evaluation.affine.variants=3"])
    assert (changed.evaluation.affine.enabled, changed.evaluation.affine.variants) == (True, 3)
    assert replace(changed, evaluation=cfg.evaluation) == cfg
    for word, problem in {
        "model.class_dim=8": "another run",
        "seed=3": "another run",
        "run.root=/tmp": "another run",
        "evaluation.affine.variant=3": "did you mean evaluation.affine.variants",
        "evaluation.routing_images=many": "could not be converted to Integer",
        "evaluation=standrad": "did you mean evaluation=standard",
        "model=cnn_small": "expected evaluation=OPTION or logger=OPTION",
    }.items():
        with pytest.raises(CapsbenchError, match=problem):
            with_overrides(cfg, [word])


def test_runs_become_rows(finished, tmp_path):
    root = finished.parents[2]
    broken = root / "train" / "=cmd_00000000" / "seed01"
    broken.mkdir(parents=True)
    (broken / "failed.json").write_text(json.dumps({"error": '=HYPERLINK("x")'}))
    try:
        assert write_results(root, None, tmp_path / "results.csv") == 3
    finally:
        shutil.rmtree(broken.parent)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["arm"], rows[0]["state"], rows[0]["error"]) == ("'=cmd", "failed", """'=HYPERLINK("x")""")
    capsnet = next(row for row in rows if row["arm"] == "capsnet_small")
    metrics = RunFolder(finished).result()["metrics"]
    assert {name: float(capsnet[name]) for name in metrics} == pytest.approx(metrics)
    assert (capsnet["config.model.stem_kernel"], capsnet["config.model.decoder_hidden"]) == ("11", "[8]")
    assert list(rows[0])[:6] == ["group", "arm", "seed", "hash", "state", "error"]


def test_results_refuse_what_they_cannot_write(finished, tmp_path):
    root = finished.parents[2]
    with pytest.raises(CapsbenchError, match=r"\.csv or \.parquet"):
        write_results(root, None, tmp_path / "results.xlsx")
    with pytest.raises(CapsbenchError, match="no runs in"):
        write_results(root, "nothing", tmp_path / "results.csv")


def test_parquet_says_the_same_as_csv(finished, tmp_path):
    import pyarrow.parquet

    root, out = finished.parents[2], tmp_path / "results.parquet"
    broken = root / "train" / "=cmd_00000000" / "seed01"
    broken.mkdir(parents=True)
    (broken / "failed.json").write_text(json.dumps({"error": "<b>no</b>"}))
    try:
        assert write_results(root, None, out) == write_results(root, None, tmp_path / "results.csv") == 3
    finally:
        shutil.rmtree(broken.parent)
    table = pyarrow.parquet.read_table(out)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    found = table.to_pylist()
    # Parquet is not opened as a spreadsheet's formula: names stay as they are.
    assert (found[0]["arm"], found[0]["error"], found[0]["test/errors"]) == ("=cmd", "<b>no</b>", None)
    for row, line in zip(found[1:], rows[1:], strict=True):
        assert row["test/accuracy"] == pytest.approx(float(line["test/accuracy"]))
        assert row["config.seed"] == int(line["config.seed"])
        assert str(row["config.data.standardize"]) == line["config.data.standardize"]


def test_parquet_without_pyarrow_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CapsbenchError, match=r"pip install 'capsbench\[export\]'"):
        write_results(tmp_path / "nothing", None, tmp_path / "results.parquet")
