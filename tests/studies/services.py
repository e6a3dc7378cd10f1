"""PostgreSQL, SLURM and Ray, each started on loopback with a configuration of its own and gone when its block ends."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from studies.sweeping import PYTHONPATH

INSTALL = "scripts/install_test_services.sh installs it"
# The kernel ends a daemon whose starter was killed before it could tidy up.
WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
SLURM_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
SLURM_CONF = """
ClusterName=capsbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# The lifetime of a credential is also how long a requeued job waits; 120 seconds otherwise.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
InactiveLimit=0
KillWait=2
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# What submitit asks of sacct, which needs a database of accounts; without an answer it waits for a dead job for ever.
SACCT = """#!{python}
import re, subprocess, sys
print("JobID|State|NodeList")
for number in [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "-j"]:
    shown = subprocess.run(["scontrol", "show", "job", "-o", number], capture_output=True, text=True).stdout
    for line in shown.splitlines():
        values = dict(re.findall(r"(\\w+)=(\\S*)", line))
        array = values.get("ArrayJobId")
        name = f"{{array}}_{{values['ArrayTaskId']}}" if array else values["JobId"]
        print(f"{{name}}|{{values['JobState']}}|{{values.get('NodeList', '')}}")
"""


class Missing(Exception):
    """A service is not installed on this machine or does not start on it; says which and why."""


def free_ports(number: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix=f"capsbench-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: if it does not come to that.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


def wait_for_service(
    name: str, ready: Callable[[], bool], daemons: "list[subprocess.Popen[bytes]]", logs: Path, seconds: float = 90
) -> None:
    """Wait until a service answers.

    Args:
        name: how the reason calls it.
        ready: whether it answers.
        daemons: its processes.
        logs: folder of their logs.

    Raises:
        Missing: if it ends or does not answer.
    """

    def dead() -> bool:
        return any(child.poll() is not None for child in daemons)

    with suppress(TimeoutError):
        wait_until(lambda: dead() or ready(), name, seconds)
        if not dead():
            return
    said = "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in sorted(logs.glob("*.log")))
    raise Missing(
        f"{name} does not start here: {'it ended' if dead() else f'no answer in {seconds:g} seconds'}\n{said}"
    )


def call(*words: object, env: dict[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(
        [str(w) for w in words], env=env, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def postgres(password: str | None = None) -> Iterator[str]:
    """A database server.

    Args:
        password: what user `postgres` must give; None: nothing is asked.

    Yields:
        The database's address, without the password.

    Raises:
        Missing: if PostgreSQL is not installed or does not start.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise Missing(f"no PostgreSQL server in /usr/lib/postgresql; {INSTALL}")
    programs, (port,) = found[-1].parent, free_ports(1)
    # The server refuses to run as root.
    user = ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    with temporary_folder("postgres") as folder, (folder / "postgres.log").open("wb") as log:
        secret, data = folder / "password", folder / "db"
        secret.write_text(f"{password or secrets.token_hex()}\n")
        secret.chmod(0o600)
        if user:
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        method = "trust" if password is None else "scram-sha-256"
        switch = ["setpriv", *user, "--"] if user else []
        call(*switch, programs / "initdb", "-A", method, f"--pwfile={secret}", "-U", "postgres", "-D", data)
        server = subprocess.Popen(
            ["setpriv", *user, *WITH_US[1:], str(programs / "postgres"), "-D", str(data), "-p", str(port),
             "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"],
            cwd="/", stdout=log, stderr=log,
        )  # fmt: skip
        where = ("-h", "127.0.0.1", "-p", port, "-U", "postgres")

        def ready() -> bool:
            with suppress(RuntimeError):
                return bool(call(programs / "pg_isready", *where))
            return False

        try:
            wait_for_service("PostgreSQL", ready, [server], folder)
            known = os.environ | ({} if password is None else {"PGPASSWORD": password})
            call(programs / "createdb", *where, "studies", env=known)
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/studies"
        finally:
            _end(server, signal.SIGINT)  # ends connections, too; SIGTERM waits for them


@dataclass(frozen=True)
class Slurm:
    """A cluster of one node.

    Attributes:
        environment: by which SLURM's programs find it.
    """

    environment: dict[str, str]

    def call(self, *words: object) -> str:
        """One of SLURM's programs."""
        return call(*words, env=self.environment)

    def jobs(self, *states: str) -> list[str]:
        """Numbers of the jobs in these states."""
        return self.call("squeue", "-h", "-r", "-o", "%i", "-t", ",".join(states or ("all",))).split()

    def cancel_all(self) -> None:
        """End every job and wait until it has."""
        numbers = self.jobs("pending", "running", "suspended", "configuring")
        if numbers:
            self.call("scancel", *numbers)
        wait_until(lambda: not self.jobs("running", "completing"), "jobs do not end", 20)


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A controller, a node and munge.

    Raises:
        Missing: if a program is not installed, does not start, or this user may not start them.
    """
    missing = [name for name in SLURM_PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if missing:
        raise Missing(f"no {', '.join(missing)}; {INSTALL}")
    if os.getuid() != 0:
        raise Missing("SLURM's daemons start jobs as other users, so they must be started by root")
    with temporary_folder("slurm") as folder, ExitStack() as stack:
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        programs = folder / "bin"
        for path in (programs, folder / "spool", folder / "state", folder / "munge"):
            path.mkdir()
        (programs / "sacct").write_text(SACCT.format(python=sys.executable))
        (programs / "sacct").chmod(0o755)
        controller_port, node_port = free_ports(2)
        conf = folder / "slurm.conf"
        host = socket.gethostname().split(".")[0]
        conf.write_text(
            SLURM_CONF.format(folder=folder, host=host, controller_port=controller_port, node_port=node_port)
        )
        path = f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin"
        cluster = Slurm({**os.environ, "SLURM_CONF": str(conf), "PATH": path})

        daemons: list[subprocess.Popen[bytes]] = []

        def daemon(*words: object) -> None:
            log = stack.enter_context((folder / f"{words[0]}.log").open("ab"))
            child = subprocess.Popen(
                [*WITH_US, *(str(w) for w in words)],
                env=cluster.environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            daemons.append(child)
            stack.callback(_end, child)

        keep = [f"--{what}={folder}/munge/{what}" for what in ("pid-file", "log-file", "seed-file")]
        daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", *keep)
        wait_for_service("munged", (folder / "munge.socket").exists, daemons, folder)
        daemon("slurmctld", "-D", "-f", conf)
        daemon("slurmd", "-D", "-f", conf)

        def idle() -> bool:
            with suppress(RuntimeError):
                return cluster.call("sinfo", "-h", "-o", "%t").strip() == "idle"
            return False

        wait_for_service("SLURM", idle, daemons, folder)
        try:
            yield cluster
        finally:
            with suppress(RuntimeError, TimeoutError):
                cluster.cancel_all()


def _end(child: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
    child.send_signal(number)
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def ray_cluster(cpus: int) -> Iterator[dict[str, str]]:
    """A head node of Ray that runs by itself.

    Yields:
        The environment of programs that are to join it.

    Raises:
        Missing: if it does not start.
    """
    port, client, metrics = free_ports(3)
    with temporary_folder("ray") as folder:
        ours = ray_environment()
        environment = {**os.environ, **ours, "RAY_TMPDIR": str(folder), "PYTHONPATH": PYTHONPATH}
        script = Path(sys.executable).with_name("ray")
        words = [*WITH_US, script, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}",
                 f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}", f"--temp-dir={folder}",
                 f"--num-cpus={cpus}", "--object-store-memory=100000000", "--include-dashboard=false"]  # fmt: skip
        with (folder / "head.log").open("wb") as log:
            child = subprocess.Popen([str(w) for w in words], env=environment, cwd="/", stdout=log, stderr=log)
        try:
            ready = "Ray runtime started"
            wait_for_service("Ray", lambda: ready in (folder / "head.log").read_text(), [child], folder)
            yield {"RAY_ADDRESS": f"127.0.0.1:{port}", **ours}
        finally:
            _end(child)


def ray_environment() -> dict[str, str]:
    """Ray without statistics for its makers, and with workers that get their share of a busy machine (19 is least)."""
    # A token of its own, or Ray writes one to the user's home folder.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", **token}
