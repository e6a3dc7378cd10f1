"""Pytest fixtures for tests that let the real W&B client loose."""

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
import wandb

from fake_wandb.server import FakeWandb

# The client gives a server that answers with errors this long; its own limits are minutes.
IMPATIENT = {
    "WANDB_INIT_TIMEOUT": "2",
    "WANDB_FINISH_TIMEOUT": "2",
    "WANDB_X_FILE_STREAM_RETRY_MAX": "1",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MIN_SECONDS": "0.1",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "0.2",
    "WANDB_X_GRAPHQL_RETRY_MAX": "1",
    "WANDB_X_GRAPHQL_RETRY_WAIT_MIN_SECONDS": "0.1",
    "WANDB_X_GRAPHQL_RETRY_WAIT_MAX_SECONDS": "0.2",
}


@pytest.fixture
def wandb_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A client without memory: nothing of the user's account, and everything it writes below `tmp_path`."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    # Otherwise every process the test starts looks for all fonts again.
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_configdir())
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(home))
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    # Settings are read once per client, so each test has its own; it must end before its server does.
    wandb.teardown()
    yield home
    wandb.teardown()


@pytest.fixture
def wandb_server(wandb_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    """A fake backend that the client is logged in to; fails the test that sent it something it does not know."""
    with FakeWandb() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server
        wandb.teardown()
    assert server.unknown == []
