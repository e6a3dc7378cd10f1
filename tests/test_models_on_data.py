"""Every model on every data set: it is built for its images and answers with one score per class, or says why not.

With PyTorch's fake tensors, which have shapes and no numbers: no weight is drawn and nothing is multiplied.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from capsbench.compose import compose_many, shipped
from capsbench.errors import CapsbenchError
from capsbench.models.build import build_model
from tiny import CNN, RUN

MODELS = sorted(path.stem for path in shipped("conf").glob("model/*.yaml"))
# Channels, height and width, and classes of what each option's loader gives, before data.size, crop and pad.
IMAGES = {
    "affnist": (1, 40, 10),
    "cifar10": (3, 32, 10),
    "cifar10_part": (3, 32, 10),
    "fashion_mnist": (1, 28, 10),
    "folder": (3, 64, 7),
    "kmnist": (1, 28, 10),
    "mnist": (1, 28, 10),
    "mnist_expanded": (1, 28, 10),
    "mnist_official_split": (1, 28, 10),
    "mnist_small": (1, 28, 10),
    "multi_mnist": (1, 28, 10),
    "smallnorb": (2, 96, 5),
    "smallnorb_azimuth": (2, 96, 5),
    "smallnorb_elevation": (2, 96, 5),
    "svhn": (3, 32, 10),
    "usps": (1, 16, 10),
}


def test_every_data_set_is_here():
    assert sorted(IMAGES) == sorted(path.stem for path in shipped("conf").glob("data/*.yaml"))


@pytest.fixture(scope="module")
def frames() -> set[tuple[int, int, int]]:
    """Channels, height and width as the network sees them, and classes."""
    configs = compose_many([[*RUN, *CNN, f"data={data}"] for data in IMAGES])
    found = set()
    for cfg, (channels, side, classes) in zip(configs, IMAGES.values(), strict=True):
        found.add((channels, (cfg.data.crop or cfg.data.size or side) + 2 * cfg.data.pad, classes))
    return found


@pytest.fixture(scope="module")
def networks() -> dict[str, object]:
    return dict(zip(MODELS, (cfg.model for cfg in compose_many([[f"model={name}"] for name in MODELS])), strict=True))


def test_the_data_sets_need_networks_for_seven_kinds_of_images(frames):
    assert frames == {(1, 28, 10), (1, 36, 10), (1, 40, 10), (2, 32, 5), (3, 24, 10), (3, 32, 10), (3, 64, 7)}


@pytest.mark.parametrize("model", MODELS)
def test_answers_for_the_images_of_every_data_set(model, networks, frames, monkeypatch):
    # It draws again what falls outside its bounds, which takes numbers.
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda weight, **_: weight)
    for channels, frame, classes in sorted(frames):
        if reason := refused(networks[model], channels, frame, classes):
            assert f"{frame}" in reason
            assert frame < 28, f"{model} on {frame} x {frame}: {reason}"
            continue
        with FakeTensorMode():
            network = build_model(networks[model], channels, frame, classes)
            images = torch.zeros(2, channels, frame, frame)
            output = network(images, torch.zeros(2, dtype=torch.int64))
        assert output.scores.shape == (2, classes)
        if output.reconstruction is not None:
            assert output.reconstruction.shape == images.shape


def refused(model, channels: int, frame: int, classes: int) -> str:
    """Why a network cannot be built for such images; empty if it can."""
    try:
        with FakeTensorMode():
            build_model(model, channels, frame, classes)
    except CapsbenchError as error:
        return str(error)
    return ""
