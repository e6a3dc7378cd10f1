from dataclasses import replace

import pytest
import torch

from capsbench.config import Config, Data
from capsbench.config_models import Cnn
from capsbench.data.splits import Splits, load_splits


@pytest.fixture(scope="session")
def mnist() -> Splits:
    """Real digits: all training images, 400 of the test images."""
    splits = load_splits(Data())
    return replace(splits, test_images=splits.test_images[:400], test_labels=splits.test_labels[:400])


@pytest.fixture
def config() -> Config:
    cfg = Config(model=Cnn())
    cfg.trainer.eval_batch_size = 64
    return cfg


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
