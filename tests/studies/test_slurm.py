"""Sweeps through sbatch on a real SLURM of one node, which the tests start on loopback and stop."""

import pytest

from studies import services

RUNS = {f"{arm}/{seed}" for arm in "ab" for seed in range(3)}
LAUNCHER = ("--launcher", "submitit_slurm", "--workers", "2", "hydra.launcher.timeout_min=5",
            "hydra.launcher.cpus_per_task=1", "hydra.launcher.signal_delay_s=30",
            "hydra.launcher.max_num_timeout=2")  # fmt: skip
HELD = "seconds=0.2 steps=2 hold=1"
SECONDS = 240  # submitit asks every 15 seconds whether a job that has left no answer is dead

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'capsbench[slurm]'")
    try:
        with services.slurm() as started:
            yield started
    except services.Missing as error:
        pytest.skip(str(error))


@pytest.fixture
def sweep(ablation, cluster):
    ablation.environment = cluster.environment
    yield ablation
    cluster.cancel_all()


def done_once(folder):
    ends = folder.executions("end")
    return set(ends) == RUNS and set(ends.values()) == {1}


def both_at_work(folder, cluster):
    """Wait until two jobs run and each of their runs stands still at a checkpoint; returns the jobs' numbers."""
    folder.wait_for_held(2, SECONDS)
    jobs = cluster.jobs("running")
    assert len(jobs) == 2
    return jobs


def test_workers_are_jobs_of_slurm(sweep, cluster):
    before = set(cluster.jobs())
    sweep.run("seconds=0.1", *LAUNCHER, seconds=SECONDS)
    assert done_once(sweep)
    mine = set(cluster.jobs()) - before
    assert len(mine) == 2
    for job in mine:
        assert "JobState=COMPLETED" in cluster.call("scontrol", "show", "job", job)
    sweep.wait_for(lambda: not sweep.processes(), SECONDS)
    assert "all 6 runs are there already" in sweep.run("", *LAUNCHER, seconds=SECONDS)


def test_a_cancelled_job_leaves_its_run_to_the_other(sweep, cluster):
    started = sweep.start(HELD, *LAUNCHER)
    jobs = both_at_work(sweep, cluster)
    cluster.call("scancel", jobs[0])
    sweep.wait_for(lambda: jobs[0] not in cluster.jobs("running", "completing"), SECONDS)
    sweep.go()
    sweep.end(started, seconds=SECONDS)
    assert done_once(sweep)
    assert sum(sweep.executions("start").values()) == len(RUNS) + 1
    assert sum(sweep.executions("from 0").values()) == len(RUNS)


def test_killed_jobs_are_replaced(sweep, cluster):
    started = sweep.start(HELD, *LAUNCHER)
    jobs = both_at_work(sweep, cluster)
    cluster.call("scancel", "--full", "--signal=KILL", *jobs)
    sweep.wait_for(lambda: not set(jobs) & set(cluster.jobs("running", "completing")), SECONDS)
    sweep.go()
    output = sweep.end(started, seconds=SECONDS)
    assert done_once(sweep)
    assert "its process was lost; going on from its last checkpoint" in output
    assert sum(sweep.executions("start").values()) == len(RUNS) + 2
    assert sum(sweep.executions("from 0").values()) == len(RUNS)


def test_jobs_outlive_the_sweeper_and_the_same_command_ends_the_sweep(sweep, cluster):
    killed = sweep.start(HELD, *LAUNCHER)
    jobs = both_at_work(sweep, cluster)
    sweep.kill(killed)
    assert set(jobs) <= set(cluster.jobs("running"))
    sweep.go()
    sweep.run(HELD, *LAUNCHER, seconds=SECONDS)
    assert done_once(sweep)
    assert set(sweep.executions("start").values()) == {1}


def test_a_job_at_the_end_of_its_time_is_queued_again_and_goes_on(sweep, cluster):
    started = sweep.start(HELD, *LAUNCHER)
    jobs = both_at_work(sweep, cluster)
    # What SLURM sends when a job's time is nearly over, and before it gives a node to somebody more important.
    cluster.call("scancel", "--signal=USR2", jobs[0])
    sweep.wait_for(lambda: "Restarts=1 " in cluster.call("scontrol", "show", "job", jobs[0]), SECONDS)
    sweep.go()
    sweep.end(started, seconds=SECONDS)
    assert done_once(sweep)
    assert sum(sweep.executions("from 0").values()) == len(RUNS)
