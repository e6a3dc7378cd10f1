"""Promise: after kill -9 at any moment the same command ends in the very bits of an undisturbed run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import killed_runs
import random_kills
from capsbench.training.runs import RunFolder, State, run_folder
from capsbench.training.train import run
from tiny import assert_same_run, read_rows, tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_data")]
ALWAYS = "trainer.checkpoint_minutes=1e-9"


def carry_out(script: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """A script of this folder to its end, in a process whose runs have the bits of this one's."""
    here = os.pathsep.join([str(script.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PYTHONPATH": here,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Runs that were killed, one for every way to die."""
    root = tmp_path_factory.mktemp("killed")
    carry_out(Path(killed_runs.__file__), root)
    return root


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    from capsbench.training import train
    from tiny import tiny_splits

    cfg = tiny_config(tmp_path_factory.mktemp("undisturbed"), ALWAYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_splits", lambda _: tiny_splits())
        run(cfg)
    return run_folder(cfg).path


@pytest.mark.parametrize("death", [death.__name__ for death in killed_runs.DEATHS])
def test_goes_on_after_being_killed(killed, undisturbed, death):
    cfg = tiny_config(killed / death, ALWAYS)
    folder = run_folder(cfg).path
    assert RunFolder(folder).state is State.stale
    assert (folder / "claim").exists()
    assert not (folder / "result.json").exists()
    assert (folder / "last.ckpt").exists() is (death != "before_the_first_checkpoint")
    run(cfg)
    assert RunFolder(folder).state is State.done
    assert not (folder / "claim").exists()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert_same_run(folder, undisturbed)


@pytest.mark.parametrize("seed", range(3))
def test_goes_on_after_being_killed_again_and_again_at_random_moments(tmp_path, seed):
    """From outside, whenever the clock says: imports, steps, files, evaluation."""
    done = carry_out(Path(random_kills.__file__), tmp_path, seed, 15)
    assert int(done.stdout) >= 3
    folder = run_folder(tiny_config(tmp_path / "killed", ALWAYS)).path
    assert RunFolder(folder).state is State.done
    steps = [int(row["step"]) for row in read_rows(folder / "metrics.csv")]
    assert steps == sorted(set(steps))
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert_same_run(folder, run_folder(tiny_config(tmp_path / "undisturbed", ALWAYS)).path)


def test_two_processes_at_once_are_one_run(tmp_path, undisturbed):
    done = carry_out(Path(random_kills.__file__), tmp_path)
    first, second, later = map(int, done.stdout.split())
    assert sorted([first, second]) == [0, 3]
    assert "is being worked on by process" in done.stderr
    assert later == 0
    assert_same_run(run_folder(tiny_config(tmp_path, ALWAYS)).path, undisturbed)
