"""Every option of `data=`, and one run through the CIFAR-10 recipe from files to result."""

import numpy as np
import pytest

from capsbench.compose import compose, shipped
from capsbench.config import Data
from capsbench.data.augment import augmentation
from capsbench.training.train import run
from data.writers import cifar_records
from tiny import CNN, RUN

OPTIONS = sorted(path.stem for path in shipped("conf").joinpath("data").glob("*.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_a_valid_configuration(option):
    cfg = compose([f"data={option}", *RUN, *CNN]).data
    assert option.startswith("multi_mnist" if cfg.overlap else cfg.name.value)
    augmentation(cfg)


def test_mnist_is_untouched_by_the_keys_of_others():
    cfg = compose(["data=mnist", *RUN, *CNN]).data
    assert cfg == Data()


def test_the_recipes_of_the_released_code():
    cifar = compose(["data=cifar10", *RUN, *CNN]).data
    assert (cifar.crop, cifar.flip, cifar.brightness, cifar.contrast) == (24, True, 63, [0.2, 1.8])
    assert (cifar.standardize, cifar.shift) == (True, 0)
    norb = compose(["data=smallnorb_azimuth", *RUN, *CNN]).data
    assert (norb.size, norb.crop, norb.flip, norb.brightness, norb.contrast) == (48, 32, False, 63, [0.2, 1.8])
    assert norb.viewpoint == "azimuth"


def test_a_run_from_files_to_result(tmp_path):
    """Bars of colour that a few steps can learn, although windows, mirroring, brightness and contrast hide them."""
    draw = np.random.default_rng(1)
    labels = np.arange(400) % 10
    images = draw.integers(0, 60, (400, 3, 32, 32), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label % 3, 6 + 2 * label : 9 + 2 * label] = 255
    for number, name in enumerate(("data_batch_1", "data_batch_2", "data_batch_3", "test_batch_first100")):
        part = slice(100 * number, 100 * number + 100)
        (tmp_path / f"{name}.bin").write_bytes(cifar_records(images[part], labels[part]))
    overrides = ["data=cifar10_part", f"data.root={tmp_path}", "data.validation_images=50", *RUN, "trainer.epochs=16"]
    cfg = compose(
        [*overrides, "model=cnn_small", "model.channels=[8,16]", f"run.root={tmp_path / 'runs'}", "optimizer.lr=0.01"]
    )
    result = run(cfg)
    assert result["metrics"]["test/accuracy"] > 0.6
    (log,) = (tmp_path / "runs").rglob("train.log")
    assert "part of CIFAR-10, as data.partial=true asks: 300 of 50,000 training images" in log.read_text()
