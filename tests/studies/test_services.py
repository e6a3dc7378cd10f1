"""Sweeps over a real PostgreSQL server and through submitit; the servers are started on loopback by the tests."""

import pytest

from studies import services

RUNS = {f"{arm}/{seed}" for arm in "ab" for seed in range(3)}
SECONDS = 150
PASSWORD = "hunter2-in-no-file"


@pytest.fixture
def postgres():
    """Address of a database on a server of its own, which asks for no password."""
    try:
        with services.postgres() as address:
            yield address
    except services.Missing as error:
        pytest.skip(str(error))


@pytest.fixture
def guarded_postgres():
    """The same, but it asks for PASSWORD."""
    try:
        with services.postgres(PASSWORD) as address:
            yield address
    except services.Missing as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.services
def test_a_sweep_over_postgresql_with_two_workers(ablation, postgres):
    pytest.importorskip("psycopg", reason="pip install 'capsbench[postgres]'")
    output = ablation.run("seconds=0.1 kill=a/1", "--storage", postgres, "--workers", "2", seconds=SECONDS)
    assert set(ablation.executions("end")) == RUNS
    assert set(ablation.executions("end").values()) == {1}
    assert "a seed 1: its process was lost" in output
    assert not list(ablation.path.glob("runs/mine/*.journal"))
    assert "all 6 runs are there already" in ablation.run("", "--storage", postgres, seconds=SECONDS)


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("way", ["PGPASSWORD", "PGPASSFILE"])
def test_a_password_is_used_and_written_nowhere(ablation, guarded_postgres, way, tmp_path_factory):
    pytest.importorskip("psycopg", reason="pip install 'capsbench[postgres]'")
    file = tmp_path_factory.mktemp("secret") / "pgpass"
    file.write_text(f"*:*:*:postgres:{PASSWORD}\n")
    file.chmod(0o600)
    refused = ablation.run("", "--storage", guarded_postgres, status=2, seconds=SECONDS)
    assert "cannot be opened" in refused
    ablation.environment = {way: PASSWORD if way == "PGPASSWORD" else str(file)}
    words = [] if way == "PGPASSFILE" else ["debug=fast", "hydra.sweeper.program=capsbench.app", "logger=wandb"]
    if words:
        ablation.write("kind: ablation\nseeds: [0]\narms: {a: {overrides: [model=cnn_small]}}\n")
    output = ablation.run("", "--storage", guarded_postgres, "--workers", "2", *words, seconds=SECONDS)
    assert "1/1" in output if words else set(ablation.executions("end")) == RUNS
    files = [path for path in ablation.path.rglob("*") if path.is_file()]
    assert any(path.name == "result.json" for path in files)
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert PASSWORD not in output


@pytest.mark.slow
@pytest.mark.services
def test_a_sweep_through_submitit(ablation):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'capsbench[slurm]'")
    ablation.run("seconds=0.1", "--launcher", "submitit_local", "--workers", "2", "hydra.launcher.timeout_min=5",
                 seconds=SECONDS)  # fmt: skip
    assert set(ablation.executions("end")) == RUNS
    assert set(ablation.executions("end").values()) == {1}
    ablation.wait_for(lambda: not ablation.processes(), SECONDS)


def test_a_password_in_the_address_is_refused(ablation):
    output = ablation.run("", "--storage", "postgresql+psycopg://ann:hunter2@127.0.0.1/x", status=2)
    assert "PGPASSWORD" in output
    assert "hunter2" not in output
