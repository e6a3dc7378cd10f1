"""An Optuna storage from one line of text, so that it travels through YAML, the environment and other machines.

journal:runs/search/study.journal                a file on this machine's or a shared disk
postgresql+psycopg://user@host:5432/capsbench    a server; its password comes from PGPASSWORD or ~/.pgpass
"""

import fcntl
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from capsbench.errors import CapsbenchError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "journal:"
SQLITE_SECONDS = 60.0
VALID = "journal:PATH, postgresql+psycopg://USER@HOST/DATABASE or sqlite:///PATH"


class FileLock:
    """Lets one process at a time write to a journal.

    The kernel gives the lock back when its holder dies. Optuna's own lock, a link, outlives a killed process and stops
    all others for 30 seconds.
    """

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(f"{journal.name}.lock")
        self.handle: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self.handle = handle
        return True

    def release(self) -> None:
        """Give the lock back."""
        handle, self.handle = self.handle, None
        if handle is not None:
            os.close(handle)


def checked_url(url: str) -> str:
    """The same storage with an absolute path, after refusing what would leak or cannot work.

    Raises:
        CapsbenchError: for an unknown scheme, or a password in the address.
    """
    if url.startswith(JOURNAL):
        return JOURNAL + str(Path(url.removeprefix(JOURNAL)).absolute())
    parts = urlsplit(url)
    if parts.password or "password" in parse_qs(parts.query):
        raise CapsbenchError(
            "storage: the address holds a password, which would end up in logs and configurations; "
            "leave it out and set PGPASSWORD, or write it to ~/.pgpass"
        )
    if not parts.scheme.startswith(("postgresql", "sqlite")):
        raise CapsbenchError(f"storage={url} is of an unknown kind; valid: {VALID}")
    return url


def open_storage(url: str) -> "BaseStorage":
    """Open a storage, making a journal's folder where it is missing.

    Raises:
        CapsbenchError: if it cannot be reached, or its driver is not installed.
    """
    import optuna
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages.journal import JournalFileBackend

    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url.startswith(JOURNAL):
        path = Path(url.removeprefix(JOURNAL))
        path.parent.mkdir(parents=True, exist_ok=True)
        lock: Any = FileLock(path)  # has the two methods that count; its base class would import Optuna at every start
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    try:
        if url.startswith("sqlite"):
            return _sqlite(url)
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise CapsbenchError(f"storage={url} needs a driver: pip install 'capsbench[postgres]' ({error})") from None
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise CapsbenchError(f"storage={url} cannot be opened: {first}") from error


def _sqlite(url: str) -> "BaseStorage":
    """A SQLite file in which a process that looks whether a run is taken is alone until it has taken it.

    SQLite has no FOR UPDATE, by which Optuna lets one of two workers wait: both would take the same run.
    """
    import optuna
    from sqlalchemy import event

    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": SQLITE_SECONDS}})

    def leave_begin_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", leave_begin_to_us)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # connections made before
    return storage
