"""Opening a W&B run without surprises: no network unless asked, no prompt, no long wait, nothing secret.

What the real client does by itself, and why each setting is here, was observed with wandb 0.31: it looks up its cloud's
address at exit even offline, flushes its file every 15 s only, waits 100 s for a dead server and for ever at the end.
"""

import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from capsbench.config import WandbMode

if TYPE_CHECKING:
    import wandb

PREFLIGHT_SECONDS = 2.0
TEARDOWN_SECONDS = 5.0
SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "disable_git": True,
    "disable_code": True,
    # Holds the command line, which may hold a storage password; config and provenance.json say what matters.
    "x_disable_meta": True,
    "x_transaction_log_flush_interval": 1.0,
    "init_timeout": 20.0,
    "finish_timeout": 60.0,
    "finish_timeout_raises": True,
}
SECRET_NAME = re.compile(r"(pass(word|wd)?|secret|token|api_?key|credentials?)$", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")

log = logging.getLogger(__name__)


def wanted_mode(mode: WandbMode) -> WandbMode:
    """The configured mode, narrowed by what the user's own WANDB_MODE forbids."""
    asked = os.environ.get("WANDB_MODE", "").lower()
    if asked == "disabled":
        return WandbMode.disabled
    if asked in ("offline", "dryrun") and mode is WandbMode.online:
        return WandbMode.offline
    return mode


def open_run(folder: Path, mode: WandbMode, *, resumed: bool, init: dict[str, Any]) -> "wandb.Run":
    """Open a W&B run below `folder`; a server that cannot be had turns online into offline, with one warning.

    Args:
        folder: the run's folder; W&B writes to its `wandb/`.
        mode: offline or online.
        resumed: whether the run goes on after a checkpoint; an online run then continues at the server's last row.
        init: further arguments of `wandb.init`.

    Returns:
        The `wandb.Run`.

    Raises:
        Exception: whatever `wandb.init` raises offline, such as an OSError from a full disk.
    """
    import wandb

    settings = {name: value for name, value in SETTINGS.items() if f"WANDB_{name.upper()}" not in os.environ}
    common = {**init, "dir": str(folder), "reinit": "create_new", "settings": wandb.Settings(**settings)}
    if mode is WandbMode.online:
        problem = unreachable()
        if not problem:
            try:
                return wandb.init(mode="online", resume="allow" if resumed else None, **common)
            except Exception as error:  # whatever the network did, the run goes on offline
                problem = first_line(error)
                stop_client()
        log.warning(
            "W&B is not available (%s): this run is tracked offline; `capsbench sync` uploads it later", problem
        )
    return wandb.init(mode="offline", **common)


def unreachable() -> str:
    """Why no W&B server can be used now, found out in two seconds at most; empty where one answers."""
    import wandb

    url = str(wandb.setup().settings.base_url)
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    # Behind a proxy only the client itself can find out.
    if address.scheme not in getproxies():
        try:
            socket.create_connection((address.hostname or "", port), timeout=PREFLIGHT_SECONDS).close()
        except OSError as error:
            return f"{url}: {first_line(error)}"
    return "" if has_credentials() else f"not logged in to {url}; run `wandb login`"


def has_credentials() -> bool:
    """Whether an API key is configured anywhere that the client looks; never asks for one."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.Error:
        return False


def stop_client() -> None:
    """End a W&B client that no longer works, so that the next run of this process gets a new one."""
    import wandb

    def teardown() -> None:
        try:
            wandb.teardown(exit_code=1)
        except Exception as error:  # it says again that its other half is gone
            log.debug("wandb.teardown: %s", first_line(error))

    # It waits for ever for a server that has gone.
    thread = threading.Thread(target=teardown, daemon=True)
    thread.start()
    thread.join(TEARDOWN_SECONDS)


@contextmanager
def quiet_environment(defaults: dict[str, str], **forced: str) -> Iterator[None]:
    """Settings that the client takes only from the environment, put back afterwards.

    No telemetry; `defaults` where the user has not set them, `forced` even where they have.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    os.environ.update({**defaults, **before, **forced, "WANDB_ERROR_REPORTING": "false"})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("WANDB_") and name not in before]:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def quiet_logging() -> Iterator[None]:
    """While inside, a log that a full disk refuses prints no traceback per line; the client's own log would."""
    before = logging.raiseExceptions
    logging.raiseExceptions = False
    try:
        yield
    finally:
        logging.raiseExceptions = before


def without_secrets(value: object) -> object:
    """A configuration with passwords replaced by `***`: values of telling names, and user parts of URLs."""
    if isinstance(value, dict):
        return {
            name: "***" if SECRET_NAME.search(str(name)) and inner else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return URL_PASSWORD.sub("***@", value) if isinstance(value, str) else value


def first_line(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
