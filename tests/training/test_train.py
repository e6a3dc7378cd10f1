"""One run from configuration to result: what it leaves, what it refuses, and what the same command does again."""

import json
import logging
import os
import signal

import numpy as np
import pytest
import torch
import yaml

from capsbench.errors import CapsbenchError
from capsbench.models.build import build_model
from capsbench.training import train
from capsbench.training.identity import is_done, plain
from capsbench.training.runs import RunFolder, State, run_folder
from capsbench.training.task import ClassificationTask
from capsbench.training.train import run
from capsbench.training.weights import load_weights
from tiny import CAPSNET, CNN, assert_same_run, read_rows, read_weights, tiny_config, tiny_splits

pytestmark = pytest.mark.usefixtures("tiny_data")


@pytest.fixture
def no_training(monkeypatch):
    """A training step is an error."""

    def trained(*_):
        raise AssertionError("a step was trained")

    monkeypatch.setattr(ClassificationTask, "training_step", trained)


def stop_at(monkeypatch, step: int, error: BaseException) -> None:
    """The training step that comes after `step` - 1 others raises."""
    real = ClassificationTask.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step - 1:
            raise error
        return real(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationTask, "training_step", training_step)


def test_a_run_leaves_what_reports_need(trained):
    names = {item.name for item in trained.folder.iterdir()}
    assert names >= {
        "config.yaml", "provenance.json", "metrics.csv", "train.log", "last.ckpt", "best.ckpt", "predictions.npz",
        "result.json",
    }  # fmt: skip
    assert not {name for name in names if name.startswith(".") or name in ("claim", "failed.json")}
    result = json.loads((trained.folder / "result.json").read_text())
    assert result == trained.result
    assert result["schema"] == 1
    assert result["state"] == "done"
    assert result["config"] == plain(trained.cfg) == yaml.safe_load((trained.folder / "config.yaml").read_text())
    assert result["run"]["id"] == f"capsnet_small-{result['run']['hash']}-s00"
    assert result["test_images"] == 30
    assert result["provenance"]["started"] <= result["provenance"]["finished"]
    assert RunFolder(trained.folder).progress() == {
        "step": 10, "steps": 10, "epoch": 1, "val/accuracy": pytest.approx(result["metrics"]["val/accuracy"]),
    }  # fmt: skip


def test_metrics_agree_with_the_kept_predictions_and_weights(trained):
    """Nothing in the result is taken on trust: accuracies from predictions.npz, predictions from last.ckpt."""
    metrics, splits = trained.result["metrics"], tiny_splits()
    with np.load(trained.folder / "predictions.npz") as kept:
        predicted, labels = kept["test_predicted"], kept["test_label"]
        selected = kept["test_predicted_selected"]
    np.testing.assert_array_equal(labels, splits.test_labels)
    assert metrics["test/errors"] == (predicted != labels).sum()
    assert metrics["test/accuracy"] == pytest.approx((predicted == labels).mean())
    assert metrics["test_selected/errors"] == (selected != labels).sum()
    model = build_model(trained.cfg.model, 1, 28, 10)
    load_weights(model, trained.folder / "last.ckpt")
    for images, expected in ((splits.test_images, predicted), (splits.validation_images, None)):
        with torch.no_grad():
            found = model.eval()(images.float() / 255).scores.argmax(dim=1)
        if expected is not None:
            np.testing.assert_array_equal(found, expected)
        else:
            accuracy = (found == splits.validation_labels).float().mean().item()
            assert metrics["val/accuracy"] == pytest.approx(accuracy)
    assert metrics["cost/parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_rows_of_metrics(trained):
    """Every second step, the end of each epoch with validation; the rate is the schedule's at that step."""
    rows = read_rows(trained.folder / "metrics.csv")
    assert [int(row["step"]) for row in rows] == [2, 4, 5, 6, 8, 10]
    assert [int(row["epoch"]) for row in rows] == [0, 0, 0, 1, 1, 1]
    assert [bool(row["val/accuracy"]) for row in rows] == [False, False, True, False, False, True]
    for row in rows:
        assert float(row["lr"]) == pytest.approx(1e-3 * 0.96 ** (int(row["step"]) / (10 / 150)))
        total = float(row["train/margin"]) + 0.0005 * float(row["train/reconstruction"])
        assert float(row["train/loss"]) == pytest.approx(total, rel=1e-5)


def test_validation_weighs_images_not_batches(root):
    """16 validation images in batches of 12 and 4 give the loss of all 16 at once."""
    losses = []
    for size in (12, 16):
        result = run(tiny_config(root / str(size), "trainer.steps=1", f"trainer.eval_batch_size={size}"))
        losses.append(result["metrics"]["val/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_same_command_again_does_nothing(trained, root, no_training, monkeypatch, caplog):
    folder = trained.copy(root)
    before = {item.name: (item.stat().st_mtime_ns, item.stat().st_size) for item in folder.iterdir()}
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(train, "load_splits", lambda _: pytest.fail("data were loaded"))
    assert run(tiny_config(root)) == trained.result
    assert "is done already" in caplog.text
    assert before == {item.name: (item.stat().st_mtime_ns, item.stat().st_size) for item in folder.iterdir()}


def test_another_evaluation_is_measured_without_training(trained, root, no_training):
    folder = trained.copy(root)
    cfg = tiny_config(root, "evaluation.reconstructions=3", "evaluation.routing_images=5")
    result = run(cfg)
    assert is_done(RunFolder(folder), cfg)
    assert result["evaluation"] != trained.result["evaluation"]
    with np.load(folder / "pictures.npz") as pictures:
        assert len(pictures["reconstructions"]) == 3
    assert "routing/coupling_entropy" in result["metrics"]
    kept = {name for name in trained.result["metrics"] if not name.startswith(("time/wall", "cost/peak"))}
    assert {name: result["metrics"][name] for name in kept} == {name: trained.result["metrics"][name] for name in kept}
    assert read_rows(folder / "metrics.csv") == read_rows(trained.folder / "metrics.csv")


def test_an_error_is_kept_and_the_next_try_goes_on(trained, root, monkeypatch):
    cfg = tiny_config(root)
    folder = run_folder(cfg)
    with monkeypatch.context() as broken:
        stop_at(broken, 7, RuntimeError("a cosmic ray\nand a long story"))
        with pytest.raises(RuntimeError, match="a cosmic ray"):
            run(cfg)
    assert folder.state is State.failed
    failure = folder.failure()
    assert failure["error"] == "RuntimeError: a cosmic ray"
    assert "and a long story" in failure["traceback"]
    assert failure["run"] == trained.result["run"]
    run(cfg)
    assert folder.state is State.done
    assert not (folder.path / "failed.json").exists()
    assert_same_run(folder.path, trained.folder)


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_step(root, monkeypatch):
    """Step 7 of 10, five an epoch: what is on disk is the first epoch."""
    real, calls = ClassificationTask._step_losses, []

    def spoiled(self, images, labels):
        losses, correct = real(self, images, labels)
        calls.append(1)
        return {**losses, "loss": losses["loss"] * (float("nan") if len(calls) == 7 else 1)}, correct

    monkeypatch.setattr(ClassificationTask, "_step_losses", spoiled)
    cfg = tiny_config(root)
    folder = run_folder(cfg)
    with pytest.raises(
        CapsbenchError, match=r"not finite at step 7 \(all layers' outputs are, .*; last\.ckpt is from before"
    ):
        run(cfg)
    assert len(calls) < 10
    assert "step 7" in folder.failure()["error"]
    content = torch.load(folder.path / "last.ckpt", weights_only=True)
    assert content["global_step"] == 5
    assert all(torch.isfinite(value).all() for value in content["state_dict"].values())
    assert [int(row["step"]) for row in read_rows(folder.path / "metrics.csv")] == [2, 4, 5, 6]


def test_a_rate_that_is_far_too_high_stops_the_run(root):
    """Weights that overflow, nothing injected."""
    cfg = tiny_config(root, "optimizer.lr=1e30", "optimizer.schedule=constant", "trainer.epochs=5", model=CNN)
    with pytest.raises(CapsbenchError, match=r"not finite at step \d+"):
        run(cfg)


@pytest.mark.parametrize(("steps", "validated"), [(3, [3]), (7, [5, 7])])
def test_a_run_in_steps_may_end_inside_an_epoch(root, steps, validated):
    cfg = tiny_config(root, f"trainer.steps={steps}")
    result = run(cfg)
    folder = run_folder(cfg).path
    rows = read_rows(folder / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["val/accuracy"]] == validated
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == steps
    assert result["metrics"]["val/accuracy"] == float(f"{float(rows[-1]['val/accuracy']):.7g}")
    assert float(rows[-1]["lr"]) == pytest.approx(1e-3 * 0.96**150)


def test_validating_less_often_changes_nothing_but_when(root):
    """Five steps an epoch; at least six between validations are two epochs, and the end of the run."""
    cfg = tiny_config(root, "trainer.epochs=3", "trainer.validate_steps=6")
    folder = run_folder(cfg).path
    run(cfg)
    assert [int(row["step"]) for row in read_rows(folder / "metrics.csv") if row["val/accuracy"]] == [10, 15]
    often = tiny_config(root, "trainer.epochs=3")
    run(often)
    for name, value in read_weights(run_folder(often).path / "last.ckpt").items():
        assert torch.equal(value, read_weights(folder / "last.ckpt")[name]), name


def test_the_same_run_in_epochs_or_steps_has_the_same_weights(trained, root):
    cfg = tiny_config(root, "trainer.steps=10")
    run(cfg)
    for name, value in read_weights(run_folder(cfg).path / "last.ckpt").items():
        assert torch.equal(value, read_weights(trained.folder / "last.ckpt")[name]), name


def test_bf16_trains_single_precision_weights_to_nearly_the_same_place(trained, root):
    cfg = tiny_config(root, "trainer.precision=bf16-mixed")
    metrics = run(cfg)["metrics"]
    weights = read_weights(run_folder(cfg).path / "last.ckpt")
    exact = read_weights(trained.folder / "last.ckpt")
    assert any(not torch.equal(value, exact[name]) for name, value in weights.items())
    for name, value in weights.items():
        assert value.dtype is torch.float32
        torch.testing.assert_close(value, exact[name], rtol=0, atol=3e-3)
    assert metrics["val/loss"] == pytest.approx(trained.result["metrics"]["val/loss"], rel=0.02)


def test_ctrl_c_keeps_what_there_is(trained, root, monkeypatch):
    """Before the first checkpoint and after it; SIGINT works again afterwards."""
    cfg = tiny_config(root)
    folder = run_folder(cfg)
    handler = signal.getsignal(signal.SIGINT)
    for step in (4, 8):
        with monkeypatch.context() as interrupted:
            stop_at(interrupted, step, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                run(cfg)
        assert signal.getsignal(signal.SIGINT) is handler
        assert folder.state is (State.todo if step == 4 else State.stale)
        assert not (folder.path / "failed.json").exists()
        assert not (folder.path / "claim").exists()
    run(cfg)
    assert_same_run(folder.path, trained.folder)


def test_sigterm_saves_and_leaves_at_once(trained, root, monkeypatch):
    """As a cluster does before it takes a machine back: not the epoch's end is waited for, nor is status 0 claimed."""
    cfg = tiny_config(root)
    folder = run_folder(cfg)
    real = ClassificationTask.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch, batch_idx)

    with monkeypatch.context() as terminated:
        terminated.setattr(ClassificationTask, "training_step", training_step)
        with pytest.raises(SystemExit) as left:
            run(cfg)
    assert left.value.code == 143
    assert folder.state is State.stale
    assert torch.load(folder.path / "last.ckpt", weights_only=True)["global_step"] == 7
    run(cfg)
    assert_same_run(folder.path, trained.folder)


def test_a_run_in_use_elsewhere_is_left_alone(root):
    cfg = tiny_config(root)
    folder = run_folder(cfg).path
    beat = folder / "claim" / "beat"
    beat.parent.mkdir(parents=True)
    beat.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    with pytest.raises(CapsbenchError, match="being worked on by process 1 on elsewhere"):
        run(cfg)
    assert [item.name for item in folder.iterdir()] == ["claim"]


def test_a_run_starts_from_given_weights(trained, root):
    start = read_weights(trained.folder / "last.ckpt")
    for name in ("last.ckpt", "best.ckpt"):
        slow = ("trainer.steps=1", "optimizer.lr=1e-12", "optimizer.floor=0")
        cfg = tiny_config(root / name, f"trainer.init_from={trained.folder / name}", *slow)
        run(cfg)
        given = read_weights(trained.folder / name)
        expected = start if name == "last.ckpt" else {f"model.{key}": value for key, value in given.items()}
        for key, value in read_weights(run_folder(cfg).path / "last.ckpt").items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-9)


def test_its_own_checkpoint_comes_before_given_weights(trained, root, monkeypatch):
    cfg = tiny_config(root, f"trainer.init_from={trained.folder / 'last.ckpt'}")
    with monkeypatch.context() as broken:
        stop_at(broken, 8, RuntimeError("stop"))
        with pytest.raises(RuntimeError, match="stop"):
            run(cfg)
    seen = []
    real = ClassificationTask.training_step
    monkeypatch.setattr(
        ClassificationTask, "training_step", lambda self, *batch: seen.append(self.global_step) or real(self, *batch)
    )
    run(cfg)
    assert seen == [5, 6, 7, 8, 9]


def test_weights_that_do_not_fit_are_refused(trained, root, tmp_path):
    def start_from(path):
        return tiny_config(root, f"trainer.init_from={path}", model=CNN)

    with pytest.raises(CapsbenchError, match="no checkpoint at"):
        run(start_from(tmp_path / "nowhere.ckpt"))
    with pytest.raises(CapsbenchError, match=r"last\.ckpt holds the weights of another model"):
        run(start_from(trained.folder / "last.ckpt"))
    (tmp_path / "text.ckpt").write_text("weights")
    with pytest.raises(CapsbenchError, match=r"text\.ckpt is not a readable checkpoint"):
        run(start_from(tmp_path / "text.ckpt"))


def test_a_checkpoint_is_never_unpickled(tmp_path):
    """A file from elsewhere cannot run code here."""

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"model": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(CapsbenchError, match="not a readable checkpoint"):
        load_weights(torch.nn.Linear(1, 1), tmp_path / "trap.ckpt")
    assert not (tmp_path / "sprung").exists()


def test_a_damaged_checkpoint_says_what_to_do(trained, root):
    folder = trained.copy(root)
    (folder / "result.json").unlink()
    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CapsbenchError, match=r"last\.ckpt is not a readable checkpoint .* remove it to start the run"):
        run(tiny_config(root))


def test_a_batch_larger_than_the_data_is_refused(root):
    with pytest.raises(CapsbenchError, match=r"trainer\.batch_size=64 is more than the 40 training images"):
        run(tiny_config(root, "trainer.batch_size=64"))


def test_the_log_says_what_went_on(trained, root, monkeypatch, caplog):
    cfg = tiny_config(root)
    with monkeypatch.context() as broken:
        stop_at(broken, 7, RuntimeError("stop"))
        with pytest.raises(RuntimeError, match="stop"):
            run(cfg)
    caplog.set_level(logging.INFO, logger="capsbench")
    run(cfg)
    assert "going on from step 5 of 10" in (run_folder(cfg).path / "train.log").read_text()


@pytest.mark.parametrize(
    "model", [CAPSNET, ("model=cnn_small", "model.channels=[8,8]", "model.hidden=[32]")], ids=["capsnet", "cnn"]
)
def test_debug_overfit_learns_its_batches_by_heart(root, model):
    """The same 32 images in 15 epochs, unshifted: fewer steps than `debug=overfit` itself takes."""
    shorter = ("trainer.epochs=15", "trainer.overfit_batches=4", "trainer.log_every=100", "optimizer.lr=0.01")
    cfg = tiny_config(root, "debug=overfit", *shorter, model=model)
    assert cfg.data.shift == 0
    assert cfg.run.group == "debug_overfit"
    run(cfg)
    rows = read_rows(run_folder(cfg).path / "metrics.csv")
    assert float(rows[0]["train/accuracy"]) < 0.5
    assert float(rows[-1]["train/accuracy"]) == 1.0
