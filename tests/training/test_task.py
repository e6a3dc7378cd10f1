"""The task: which loss, which means, which optimiser, and that no training step waits for the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from capsbench.compose import compose
from capsbench.config import ClassLoss, Config
from capsbench.config_models import Cnn, MarginForm
from capsbench.data.batches import TrainBatches
from capsbench.losses import cross_entropy_loss, margin_loss, reconstruction_loss
from capsbench.models.build import build_model
from capsbench.models.output import Output
from capsbench.training.task import ClassificationTask, losses_of
from capsbench.training.train import run
from tiny import CAPSNET, tiny_config, tiny_images

WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::_unique2"}


@pytest.fixture
def output() -> Output:
    torch.manual_seed(0)
    return Output(torch.rand(4, 10), reconstruction=torch.rand(4, 1, 5, 5))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(4, 1, 5, 5), torch.arange(4)


def task_of(*overrides: str) -> ClassificationTask:
    torch.manual_seed(0)
    cfg = compose([*CAPSNET, *overrides])
    return ClassificationTask(cfg, build_model(cfg.model, 1, 28, 10), 100)


def test_capsules_get_margin_and_weighted_reconstruction(output, batch):
    cfg = compose(["model=capsnet", "loss=paper"])
    images, labels = batch
    losses = losses_of(output, images, labels, cfg)
    targets = torch.nn.functional.one_hot(labels, 10).float()
    torch.testing.assert_close(losses["margin"], margin_loss(output.scores, targets, form=MarginForm.paper))
    torch.testing.assert_close(losses["reconstruction"], reconstruction_loss(output.reconstruction, images))
    torch.testing.assert_close(losses["loss"], losses["margin"] + 0.0005 * losses["reconstruction"])
    assert set(losses) == {"loss", "margin", "reconstruction"}


def test_the_released_loss_weighs_reconstruction_twenty_times_more(output, batch):
    shares = {}
    for form in ("paper", "official"):
        losses = losses_of(output, *batch, compose(["model=capsnet", f"loss={form}"]))
        shares[form] = 0.0005 * losses["reconstruction"] / losses["margin"]
        torch.testing.assert_close(losses["loss"], losses["margin"] * (1 + shares[form]))
    torch.testing.assert_close(shares["official"], 20 * shares["paper"])


def test_margins_come_from_the_configuration(output, batch):
    cfg = compose(["loss.margin_positive=0.7", "loss.margin_negative=0.2", "loss.margin_down_weight=0.3"])
    targets = torch.nn.functional.one_hot(batch[1], 10).float()
    expected = margin_loss(
        output.scores, targets, form=MarginForm.official, positive=0.7, negative=0.2, down_weight=0.3
    )
    torch.testing.assert_close(losses_of(output, *batch, cfg)["margin"], expected)


def test_cnns_get_cross_entropy_and_no_reconstruction(output, batch):
    losses = losses_of(output._replace(reconstruction=None), *batch, Config(model=Cnn()))
    assert set(losses) == {"loss", "cross_entropy"}
    torch.testing.assert_close(losses["loss"], cross_entropy_loss(output.scores, batch[1]))


def test_capsules_may_be_given_cross_entropy(output, batch):
    cfg = compose(["model=capsnet", "loss=cross_entropy"])
    assert cfg.loss.classification is ClassLoss.cross_entropy
    assert "cross_entropy" in losses_of(output, *batch, cfg)


def test_means_are_over_the_steps_since_the_last_row(monkeypatch):
    task = task_of()
    monkeypatch.setattr(ClassificationTask, "global_step", 0)
    images, labels = tiny_images(8)
    images = images.float() / 255
    found = [task.training_step((images[half], labels[half]), 0).item() for half in (slice(4), slice(4, 8))]
    means = task.take_train_means()
    assert means["train/loss"] == pytest.approx(sum(found) / 2)
    correct = task.model(images).scores.argmax(dim=1) == labels
    assert means["train/accuracy"] == pytest.approx(correct.float().mean().item())
    assert task.take_train_means() == {}


def test_the_first_bad_step_is_remembered(monkeypatch):
    task = task_of()
    task.step_losses = lambda images, labels: ({"loss": images.sum()}, labels.float().mean())
    for step, value in enumerate([1.0, float("inf"), float("nan"), 2.0]):
        monkeypatch.setattr(ClassificationTask, "global_step", step)
        task.training_step((torch.tensor([value]), torch.zeros(1)), 0)
    assert int(task.first_bad_step) == 2


def test_adam_as_configured():
    task = task_of("optimizer.lr=0.01", "optimizer.beta1=0.5", "optimizer.eps=1e-3", "optimizer.decay_steps=10")
    found = task.configure_optimizers()
    optimizer, scheduler = found["optimizer"], found["lr_scheduler"]
    assert isinstance(optimizer, torch.optim.Adam)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.01, (0.5, 0.999), 1e-3, 0.0)
    assert scheduler["interval"] == "step"
    assert sum(weight.numel() for weight in group["params"]) == sum(w.numel() for w in task.model.parameters())


class Waits(TorchDispatchMode):
    """Counts, while it is on, the operations after which Python waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += 1
        if function._schema.name in WAITING:
            self.seen.append(function._schema.name)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch) -> Waits:
    """On from the second to the last step of an epoch, in a real run."""
    watch, batches = Waits(), TrainBatches.__iter__

    def watched(self):
        for number, batch in enumerate(batches(self), start=1):
            if number == 2:
                watch.__enter__()
            if number == len(self):
                watch.__exit__(None, None, None)
            yield batch

    def one_hot(labels, classes):
        return (labels[:, None] == torch.arange(classes)).long()

    monkeypatch.setattr(TrainBatches, "__iter__", watched)
    # PyTorch's own reads the labels back to check their range, but on a CPU only, where nothing waits.
    monkeypatch.setattr(torch.nn.functional, "one_hot", one_hot)
    return watch


@pytest.mark.parametrize("model", ["capsnet", "cnn"])
def test_no_step_waits_for_the_device(root, tiny_data, waits, model):
    """From the batch to the optimiser and every callback: nothing is read back between two rows of metrics.csv."""
    chosen = {} if model == "capsnet" else {"model": ("model=cnn_small", "model.dropout=0.5")}
    run(tiny_config(root, "trainer.batch_size=4", "trainer.epochs=1", "trainer.log_every=1000", **chosen))
    assert waits.operations > 8 * 50
    assert waits.seen == []


def test_the_watch_sees_what_a_row_reads(root, tiny_data, waits):
    """The test above could not fail if it were blind: rows of metrics do wait."""
    run(tiny_config(root, "trainer.batch_size=4", "trainer.epochs=1", "trainer.log_every=3"))
    assert len(waits.seen) > 3
