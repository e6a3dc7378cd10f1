"""Promise: after kill -9 at any moment the same command ends in the very bits of an undisturbed run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import killed_runs
from capsbench.training.runs import RunFolder, State, run_folder
from capsbench.training.train import run
from tiny import assert_same_run, tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_data")]
ALWAYS = "trainer.checkpoint_minutes=1e-9"


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Runs that were killed, one for every way to die."""
    root = tmp_path_factory.mktemp("killed")
    script = Path(killed_runs.__file__)
    here = os.pathsep.join([str(script.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PYTHONPATH": here,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [sys.executable, str(script), str(root)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
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
    assert_same_run(folder, undisturbed)
