"""For all tests: annotated shapes are checked at run time, PyTorch uses two threads in all, and runs can be tiny."""

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["OMP_WAIT_POLICY"] = "passive"

from jaxtyping import install_import_hook

# Before anything of the package is imported: every annotated shape in these rooms is checked in every call.
install_import_hook(
    ["capsbench.capsules", "capsbench.models", "capsbench.losses", "capsbench.data", "capsbench.evaluation"],
    "beartype.beartype",
)

import pytest  # noqa: E402 - after the hook

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch

if TYPE_CHECKING:
    from tiny import Trained


@pytest.fixture(scope="session", autouse=True)
def two_threads():
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Hydra and the commands set up logging for a whole process, and Hydra disables what loggers there are."""
    known = logging.root.manager.loggerDict
    names = [None, *(name for name in known if name.partition(".")[0] in ("capsbench", "hydra"))]
    before = [(logging.getLogger(name), *state(logging.getLogger(name))) for name in names]
    yield
    for logger, level, handlers, propagate, disabled in before:
        logger.setLevel(level)
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled


def state(logger: logging.Logger) -> tuple:
    """What `logging_as_it_was` restores."""
    return logger.level, list(logger.handlers), logger.propagate, logger.disabled


@pytest.fixture
def root(tmp_path) -> Path:
    """Folder for runs."""
    return tmp_path / "runs"


@pytest.fixture
def tiny_data(monkeypatch):
    """Runs learn from a few small images instead of MNIST."""
    from capsbench.training import train
    from tiny import tiny_splits

    monkeypatch.setattr(train, "load_splits", lambda _: tiny_splits())


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> "Trained":
    """A finished run, trained once for all tests that do not change its folder."""
    from capsbench.training import train
    from capsbench.training.runs import run_folder
    from tiny import Trained, tiny_config, tiny_splits

    cfg = tiny_config(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_splits", lambda _: tiny_splits())
        return Trained(cfg, run_folder(cfg).path, train.run(cfg))
