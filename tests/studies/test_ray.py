"""Sweeps through Ray: one that the sweep starts for itself, and one that is there already."""

import os

import psutil
import pytest

from studies import services

RUNS = {f"{arm}/{seed}" for arm in "ab" for seed in range(3)}
SECONDS = 120

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture
def sweep(ablation):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="pip install 'capsbench[ray]'")
    ablation.environment = services.ray_environment()
    return ablation


def done_once(folder):
    ends = folder.executions("end")
    return set(ends) == RUNS and set(ends.values()) == {1}


def ray_processes():
    return {process.pid for process in psutil.process_iter() if process.name() in ("raylet", "gcs_server")}


def test_a_ray_of_its_own(sweep):
    before = ray_processes()
    with services.temporary_folder("ray") as folder:
        sweep.run(
            "seconds=0.1", "--launcher", "ray", "--workers", "2", "+hydra.launcher.ray.init.num_cpus=2",
            "+hydra.launcher.ray.init.include_dashboard=false", f"+hydra.launcher.ray.init._temp_dir={folder}",
            seconds=SECONDS,
        )  # fmt: skip
        assert done_once(sweep)
        sweep.wait_for(lambda: ray_processes() <= before)
    sweep.wait_for(lambda: not sweep.processes())


def test_a_cluster_that_is_there_and_a_killed_worker(sweep):
    with services.ray_cluster(cpus=2) as environment:
        sweep.environment = environment
        started = sweep.start("seconds=2 steps=20", "--launcher", "ray_cluster", "--workers", "2")
        sweep.wait_for(lambda: len(list(sweep.path.glob("runs/mine/*/seed0?/last.ckpt"))) >= 2, SECONDS)
        workers = [process for process in psutil.process_iter() if "ray::_run_job" in " ".join(process.cmdline())]
        assert len(workers) == 2
        workers[0].kill()
        sweep.end(started, seconds=SECONDS)
        assert done_once(sweep)
        assert sum(sweep.executions("start").values()) == len(RUNS) + 1
        assert sum(sweep.executions("from 0").values()) == len(RUNS)
        sweep.wait_for(lambda: not sweep.processes())


def test_without_a_cluster_the_reason_is_said(sweep):
    sweep.environment = {**services.ray_environment(), "RAY_TMPDIR": str(sweep.path), "HOME": os.environ["HOME"]}
    output = sweep.run("", "--launcher", "ray_cluster", status=2, seconds=SECONDS)
    assert "Could not find any running Ray instance" in output
    assert not sweep.executions("start")
