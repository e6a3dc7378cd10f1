"""Promise: numbers that stop being numbers stop the run, which names the step and the layer and keeps sound weights."""

import pytest
import torch

from capsbench.errors import CapsbenchError
from capsbench.training import train
from capsbench.training.callbacks.finite import NonFiniteLoss
from capsbench.training.runs import RunFolder, State, run_folder
from capsbench.training.train import run
from tiny import CAPSNET, CNN, assert_same_run, read_rows, tiny_config

pytestmark = pytest.mark.usefixtures("tiny_data")
ALWAYS = "trainer.checkpoint_minutes=1e-9"


@pytest.fixture
def watched_model(monkeypatch):
    """Calls a function with the next run's network as soon as that is built."""

    def watch(spoil) -> None:
        real = train.build_run_model

        def build(*arguments):
            model = real(*arguments)
            spoil(model)
            return model

        monkeypatch.setattr(train, "build_run_model", build)

    return watch


def spoil_output(module: torch.nn.Module, value: float, step: int) -> None:
    """From its `step`-th training batch on one number of a layer's output is `value`."""
    seen = []

    def hook(module, inputs, output):
        if module.training:
            seen.append(1)
            if len(seen) >= step:
                output = output.clone()
                output[(0,) * output.dim()] = value
        return output

    module.register_forward_hook(hook)


def spoil_gradient(parameter: torch.nn.Parameter, step: int) -> None:
    """In its `step`-th training step one number of a parameter's gradient is infinite; the loss is not."""
    seen = []

    def hook(gradient):
        seen.append(1)
        if len(seen) == step:
            gradient = gradient.clone()
            gradient[(0,) * gradient.dim()] = float("inf")
        return gradient

    parameter.register_hook(hook)


def checkpoint(folder: RunFolder):
    return torch.load(folder.path / "last.ckpt", weights_only=True)


def assert_sound(folder: RunFolder, step: int) -> None:
    content = checkpoint(folder)
    assert content["global_step"] == step
    assert all(torch.isfinite(value).all() for value in content["state_dict"].values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("model", "layer"), [(CAPSNET, "primary"), (CAPSNET, "stem"), (CNN, "dense.0")], ids=["primary", "stem", "cnn"]
)
def test_the_layer_whose_output_went_first_is_named(trained, root, watched_model, monkeypatch, model, layer, value):
    cfg = tiny_config(root, model=model)
    folder = run_folder(cfg)
    with monkeypatch.context():
        watched_model(lambda network: spoil_output(network.get_submodule(layer), value, 7))
        with pytest.raises(NonFiniteLoss, match=rf"not finite at step 7 \(.* are the output of {layer} \("):
            run(cfg)
    assert folder.state is State.failed
    assert f"the output of {layer}" in folder.failure()["error"]
    assert_sound(folder, 5)


def test_a_run_whose_cause_is_gone_goes_on_to_the_same_end(trained, root, watched_model, monkeypatch):
    cfg = tiny_config(root)
    with monkeypatch.context() as spoiled:
        real = train.build_run_model
        watched_model(lambda network: spoil_output(network.get_submodule("primary"), float("nan"), 7))
        with pytest.raises(NonFiniteLoss):
            run(cfg)
        spoiled.setattr(train, "build_run_model", real)
        run(cfg)
    assert_same_run(run_folder(cfg).path, trained.folder)


@pytest.mark.parametrize(("step", "found"), [(7, "step 8 (after step 7 the gradient of"), (10, "step 10")])
def test_a_gradient_that_is_not_finite_is_named_though_the_loss_was(root, watched_model, step, found):
    """In the middle of the run, and in its last step, after which there is no other loss to notice it by."""
    cfg = tiny_config(root)
    folder = run_folder(cfg)
    name = "stem.weight"
    watched_model(lambda network: spoil_gradient(network.get_parameter(name), step))
    with pytest.raises(NonFiniteLoss) as caught:
        run(cfg)
    assert found in str(caught.value)
    assert f"the gradient of {name} was not" in str(caught.value)
    assert_sound(folder, 5)


def test_spoiled_weights_are_not_saved_in_the_middle_of_an_epoch(root, watched_model):
    cfg = tiny_config(root, ALWAYS, "trainer.log_every=100")
    watched_model(lambda network: spoil_gradient(network.get_parameter("stem.weight"), 3))
    with pytest.raises(NonFiniteLoss, match=r"the gradient of stem\.weight was not finite at step 3"):
        run(cfg)
    assert_sound(run_folder(cfg), 2)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("model", [CAPSNET, CNN], ids=["capsnet", "cnn"])
def test_weights_that_explode_stop_the_run(root, model, precision):
    """Nothing injected: a rate that is far too high, in both precisions, until numbers saturate."""
    overrides = [
        "optimizer.lr=1e30",
        "optimizer.schedule=constant",
        "trainer.epochs=5",
        f"trainer.precision={precision}",
    ]
    with pytest.raises(NonFiniteLoss, match=r"finite at step \d+ \(.*(output|gradient) of \w+") as caught:
        run(tiny_config(root, *overrides, model=model))
    assert "Try a lower optimizer.lr" in str(caught.value)


def test_clipped_gradients_do_not_explode(root):
    """A rate that a clipped run survives, though its first steps are far too long."""
    overrides = ["optimizer.lr=10", "optimizer.schedule=constant", "optimizer.clip_norm=1"]
    cfg = tiny_config(root, *overrides)
    run(cfg)
    assert all("nan" not in value and "inf" not in value for row in read_rows(run_folder(cfg).path / "metrics.csv")
               for value in row.values())  # fmt: skip


def test_half_precision_that_needs_loss_scaling_is_refused(root):
    with pytest.raises(
        CapsbenchError, match=r"trainer\.precision=16-mixed is unknown; valid: auto, 32-true, bf16-mixed"
    ):
        run(tiny_config(root, "trainer.precision=16-mixed"))
