"""Sweeps through Ray: one that the sweep starts for itself, and one that is there already."""

import os

import psutil
import pytest

from studies import services

RUNS = {f"{arm}/{seed}" for arm in "ab" for seed in range(3)}
SECONDS = 120

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]


@pytest.fixture
def sweep(ablation):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="pip install 'capsbench[ray]'")
    ablation.environment = services.ray_environment()
    return ablation


def done_once(folder):
    ends = folder.executions("end")
    return set(ends) == RUNS and set(ends.values()) == {1}


def processes_with(words):
    """Command lines that name these words, of everybody's processes."""
    return [line for process in psutil.process_iter(["cmdline"])
            if words in (line := " ".join(process.info["cmdline"] or []))]  # fmt: skip


def worker_of(run):
    """Ray's process that carries this run out."""
    return next(process for process in psutil.Process(run).parents() if "ray::" in " ".join(process.cmdline()))


def test_a_ray_of_its_own(sweep):
    with services.temporary_folder("ray") as folder:
        sweep.run(
            "seconds=0.1", "--launcher", "ray", "--workers", "2", "+hydra.launcher.ray.init.num_cpus=2",
            "+hydra.launcher.ray.init.include_dashboard=false", f"+hydra.launcher.ray.init._temp_dir={folder}",
            seconds=SECONDS,
        )  # fmt: skip
        assert done_once(sweep)
        assert (folder / "session_latest").exists()
        sweep.wait_for(lambda: not processes_with(str(folder)), SECONDS)
    sweep.wait_for(lambda: not sweep.processes(), SECONDS)


@pytest.fixture
def cluster(sweep):
    try:
        with services.ray_cluster(cpus=2) as environment:
            yield environment
    except services.Missing as error:
        pytest.skip(str(error))


def test_a_cluster_that_is_there_and_a_killed_worker(sweep, cluster):
    sweep.environment = cluster
    started = sweep.start("seconds=0.2 steps=2 hold=1", "--launcher", "ray_cluster", "--workers", "2")
    sweep.wait_for_held(2, SECONDS)
    workers = [worker_of(run) for run in set(sweep.pids())]
    assert len(set(workers)) == 2
    workers[0].kill()
    workers[0].wait(SECONDS)
    sweep.go()
    sweep.end(started, seconds=SECONDS)
    assert done_once(sweep)
    assert sum(sweep.executions("start").values()) == len(RUNS) + 1
    assert sum(sweep.executions("from 0").values()) == len(RUNS)
    sweep.wait_for(lambda: not sweep.processes(), SECONDS)


def test_without_a_cluster_the_reason_is_said(sweep):
    sweep.environment = {**services.ray_environment(), "RAY_TMPDIR": str(sweep.path), "HOME": os.environ["HOME"]}
    output = sweep.run("", "--launcher", "ray_cluster", status=2, seconds=SECONDS)
    assert "Could not find any running Ray instance" in output
    assert not sweep.executions("start")
