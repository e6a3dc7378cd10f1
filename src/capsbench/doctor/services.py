"""What runs talk to: the data set's files, W&B, and a database where a sweep's queue is kept in one."""

from capsbench.config import Data, WandbMode
from capsbench.doctor.finding import Finding, ok, problem, warning

DATABASE_SECONDS = 5


def data(cfg: Data) -> Finding:
    """The data set's files, read whole and compared with their published checksums."""
    from capsbench.data.commands import verify

    lines = verify(cfg).splitlines()
    summary = next((line for line in lines[1:] if not line.startswith(" ")), "")
    if "not the published" in summary:
        return warning("data", f"{lines[0]}: {summary}", f"`capsbench data verify {cfg.name}` says which files differ")
    return ok("data", f"{lines[0]}: {summary}")


def tracking(mode: WandbMode) -> Finding:
    """W&B's mode, and whether its server can be had where it matters."""
    from capsbench.training.wandb_session import has_credentials, quiet_environment, unreachable, wanted_mode

    mode = wanted_mode(mode)
    if mode is WandbMode.disabled:
        return ok("W&B", "disabled; metrics.csv and result.json are always written")
    with quiet_environment({"WANDB_SILENT": "true"}):
        if mode is WandbMode.offline and not has_credentials():
            return ok("W&B", "offline: nothing is sent, no server needed; `capsbench sync` would need `wandb login`")
        why = unreachable()
    if mode is WandbMode.offline:
        return ok("W&B", f"offline: nothing is sent; `capsbench sync` now: {why or 'the server answers'}")
    if why:
        return warning(
            "W&B", f"online, but {why}", "runs fall back to offline by themselves; `capsbench sync` uploads them later"
        )
    return ok("W&B", "online, the server answers")


def database(url: str) -> Finding:
    """Whether a study's storage can be opened; nothing is written to it.

    Raises:
        CapsbenchError: the address is of an unknown kind, or holds a password.
    """
    from capsbench.storage import JOURNAL, checked_url

    url = checked_url(url)
    if url.startswith(JOURNAL):
        return ok("storage", f"{url}: a file; see journal for what its disk can do")
    install = "`pip install 'capsbench[postgres]'`"
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        return problem("storage", f"{url} needs SQLAlchemy", install)
    timeout = {"connect_timeout": DATABASE_SECONDS} if url.startswith("postgresql") else {}
    try:
        engine = sqlalchemy.create_engine(url, connect_args=timeout)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
        engine.dispose()
    except ModuleNotFoundError as error:
        return problem("storage", f"{url} needs the driver {error.name}", install)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "start the server, or set PGPASSWORD or ~/.pgpass where it asks for a password"
        return problem("storage", f"{url} cannot be opened: {first}", advice)
    return ok("storage", f"{url} answers")
