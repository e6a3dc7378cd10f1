"""last.ckpt and best.ckpt: when they are written, which weights they hold, and that they are never half a file."""

import errno
from types import SimpleNamespace

import pytest
import torch

from capsbench import files
from capsbench.config import Config
from capsbench.config_models import Cnn
from capsbench.errors import CapsbenchError
from capsbench.files import CannotWrite
from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.callbacks.finite import NonFiniteLoss
from capsbench.training.runs import Claim
from capsbench.training.task import ClassificationTask
from capsbench.training.weights import CheckpointFiles
from tiny import read_weights


class Machinery:
    """As much of Lightning's Trainer as the callback uses."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.callback_metrics: dict[str, torch.Tensor] = {}
        self.current_epoch = self.global_step = 0
        self.is_global_zero, self.world_size, self.is_last_batch = True, 1, False
        self.received_sigterm = False
        self.optimizers: list[torch.optim.Optimizer] = []
        self.train_dataloader = None
        self.events: list[str] = []
        self.loggers = [SimpleNamespace(save=lambda: self.events.append("metrics"))]
        self.strategy = SimpleNamespace(broadcast=lambda value: value)

    def save_checkpoint(self, path) -> None:
        self.events.append("checkpoint")
        CheckpointFiles().save_checkpoint({"global_step": self.global_step}, path)


@pytest.fixture
def trainer(tmp_path) -> Machinery:
    return Machinery(tmp_path)


@pytest.fixture
def task() -> ClassificationTask:
    return ClassificationTask(Config(model=Cnn()), torch.nn.Linear(2, 1), planned_steps=100)


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def end_epoch(callback, trainer, task, accuracy: float, loss: float) -> None:
    with torch.no_grad():
        task.model.weight.fill_(trainer.current_epoch)
    trainer.callback_metrics = {"val/accuracy": torch.tensor(accuracy), "val/loss": torch.tensor(loss)}
    callback.on_train_epoch_end(trainer, task)
    trainer.current_epoch += 1


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 1),
        ([(0.7, 1.0), (0.7, 0.5), (0.7, 0.9)], 1),
        ([(0.7, 1.0), (0.7, 1.0)], 0),
        ([(0.1, 1.0), (0.2, 1.0), (0.3, 1.0)], 2),
    ],
    ids=["highest accuracy", "lower loss among equals", "the first of equals", "always better"],
)
def test_best_is_selected_by_validation(tmp_path, trainer, task, epochs, best):
    callback = Checkpoints(tmp_path, minutes=5)
    for accuracy, loss in epochs:
        end_epoch(callback, trainer, task, accuracy, loss)
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert content["epoch"] == callback.best_epoch == best
    assert (content["model"]["weight"] == best).all()
    assert callback.last_epoch == len(epochs) - 1
    assert callback.last == pytest.approx((epochs[-1][0], -epochs[-1][1]))


def test_metrics_reach_the_disk_before_the_checkpoint(tmp_path, trainer, task):
    Checkpoints(tmp_path, minutes=5).save_last(trainer, task)
    assert trainer.events == ["metrics", "checkpoint"]
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, trainer, task, monkeypatch):
    callback = Checkpoints(tmp_path, minutes=5)
    trainer.global_step = 7
    callback.save_last(trainer, task)

    def half(descriptor):
        raise OSError(errno.ENOSPC, "disk full")

    trainer.global_step = 8
    monkeypatch.setattr(files.os, "fsync", half)
    with pytest.raises(CannotWrite, match=r"cannot write .*last\.ckpt: disk full"):
        callback.save_last(trainer, task)
    assert step_of(tmp_path / "last.ckpt") == 7


def test_nothing_is_saved_after_a_loss_that_is_not_a_number(tmp_path, trainer, task):
    callback = Checkpoints(tmp_path, minutes=5)
    callback.save_last(trainer, task)
    task.first_bad_step = torch.tensor(12)
    trainer.global_step = 13
    with pytest.raises(NonFiniteLoss, match="not finite at step 12"):
        callback.save_last(trainer, task)
    assert step_of(tmp_path / "last.ckpt") == 0


def test_in_an_epoch_only_when_due_and_not_at_its_end(tmp_path, trainer, task, monkeypatch):
    """At an epoch's last step Lightning would skip the validation when it goes on from there."""
    callback = Checkpoints(tmp_path, minutes=5)
    path = tmp_path / "last.ckpt"

    def step(seconds: float, **state) -> bool:
        for name, value in {"is_last_batch": False, "global_step": 50, **state}.items():
            setattr(trainer, name, value)
        callback.saved -= seconds
        path.unlink(missing_ok=True)
        callback.on_train_batch_end(trainer, task, None, None, 0)
        return path.exists()

    assert not step(0)
    assert not step(290)
    assert step(20)
    assert not step(0)
    assert not step(400, is_last_batch=True)
    assert not step(400, global_step=100)
    assert step(400)


def test_what_is_best_survives_a_resume(tmp_path, trainer, task):
    first, second = Checkpoints(tmp_path, minutes=5), Checkpoints(tmp_path, minutes=5)
    end_epoch(first, trainer, task, 0.9, 0.2)
    end_epoch(first, trainer, task, 0.8, 0.1)
    second.load_state_dict(first.state_dict())
    end_epoch(second, trainer, task, 0.85, 0.1)
    assert second.best_epoch == 0
    assert second.best == pytest.approx((0.9, -0.2))
    assert (read_weights(tmp_path / "best.ckpt")["weight"] == 0).all()


def test_a_finished_runs_files_hold_only_weights(trained):
    """They can be read without running code from them, and the last one is the one that was evaluated."""
    content = torch.load(trained.folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == 10
    assert {name.split(".")[0] for name in content["state_dict"]} == {"model"}
    best = torch.load(trained.folder / "best.ckpt", weights_only=True)
    assert set(best) == {"epoch", "model"}
    assert best["epoch"] == trained.result["selected"]["epoch"]


@pytest.mark.parametrize("spoiled", ["weight", "optimiser"])
def test_what_no_step_can_go_on_from_is_not_saved(tmp_path, trainer, task, spoiled):
    callback = Checkpoints(tmp_path, minutes=5)
    trainer.optimizers = [torch.optim.Adam(task.model.parameters())]
    task.model(torch.ones(1, 2)).sum().backward()
    trainer.optimizers[0].step()
    callback.save_last(trainer, task)
    trainer.global_step = 5
    with torch.no_grad():
        if spoiled == "weight":
            task.model.weight[0, 0] = float("nan")
        else:
            trainer.optimizers[0].state[task.model.bias]["exp_avg_sq"].fill_(float("inf"))
    named = "the gradient of weight" if spoiled == "weight" else "the optimiser's exp_avg_sq of bias"
    with pytest.raises(NonFiniteLoss, match=f"{named} was not finite at step 5"):
        callback.save_last(trainer, task)
    assert step_of(tmp_path / "last.ckpt") == 0


def test_a_folder_that_is_not_this_processs_any_more_is_left_alone(tmp_path, trainer, task):
    with Claim(tmp_path) as claim:
        callback = Checkpoints(tmp_path, minutes=5, claim=claim)
        callback.save_last(trainer, task)
        claim.beat.write_text('{"host": "elsewhere", "pid": 7}')
        trainer.global_step = 5
        with pytest.raises(CapsbenchError, match="process 7 on elsewhere has taken it over"):
            callback.save_last(trainer, task)
    assert step_of(tmp_path / "last.ckpt") == 0
