"""Sweeps over a real PostgreSQL server and through submitit; the servers are started on loopback by the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

RUNS = {f"{arm}/{seed}" for arm in "ab" for seed in range(3)}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def postgres():
    """Address of a database on a server of its own, which ends with the test."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql; scripts/install_test_services.sh installs it")
    programs, port = found[-1].parent, free_port()
    # Not below tmp_path, whose parents no other user may enter.
    data = Path(tempfile.mkdtemp(prefix="capsbench-postgres-"))
    # The server refuses to run as root.
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if user:
        shutil.chown(data, "postgres")

    def call(program, *arguments):
        return subprocess.run([*user, programs / program, *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL)

    call("initdb", "-A", "trust", "-U", "postgres", "-D", data / "db")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    call("pg_ctl", "-D", data / "db", "-o", options, "-w", "-l", data / "log", "start")
    try:
        call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "studies")
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/studies"
    finally:
        call("pg_ctl", "-D", data / "db", "-m", "immediate", "stop")
        shutil.rmtree(data)


@pytest.mark.slow
@pytest.mark.services
def test_a_sweep_over_postgresql_with_two_workers(ablation, postgres):
    pytest.importorskip("psycopg", reason="pip install 'capsbench[postgres]'")
    output = ablation.run("seconds=0.1 kill=a/1", "--storage", postgres, "--workers", "2")
    assert set(ablation.executions("end")) == RUNS
    assert set(ablation.executions("end").values()) == {1}
    assert "a seed 1: its process was lost" in output
    assert not list(ablation.path.glob("runs/mine/*.journal"))
    assert "all 6 runs are there already" in ablation.run("", "--storage", postgres)


@pytest.mark.slow
@pytest.mark.services
def test_a_sweep_through_submitit(ablation):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'capsbench[slurm]'")
    ablation.run("seconds=0.1", "--launcher", "submitit_local", "--workers", "2", "hydra.launcher.timeout_min=5")
    assert set(ablation.executions("end")) == RUNS
    assert set(ablation.executions("end").values()) == {1}
    ablation.wait_for(lambda: not ablation.processes())


def test_a_password_in_the_address_is_refused(ablation):
    output = ablation.run("", "--storage", "postgresql+psycopg://ann:hunter2@127.0.0.1/x", status=2)
    assert "PGPASSWORD" in output
    assert "hunter2" not in output
