"""Promise: a folder that is taken away, cannot be written or is somebody else's by now ends a run with one line."""

import shutil
import subprocess

import pytest

from capsbench.errors import CapsbenchError
from capsbench.files import CannotWrite
from capsbench.training.runs import run_folder
from capsbench.training.task import ClassificationTask
from capsbench.training.train import run
from small_disk import MEGABYTE, mounted, needs_small_disk
from tiny import assert_same_run, tiny_config

pytestmark = pytest.mark.usefixtures("tiny_data")
ALWAYS = "trainer.checkpoint_minutes=1e-9"


def at_step(monkeypatch, step: int, happens) -> None:
    real = ClassificationTask.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step:
            happens()
        return real(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationTask, "training_step", training_step)


@pytest.mark.parametrize("step", [2, 9])
def test_a_folder_that_is_removed_stays_away(trained, root, monkeypatch, step):
    """In the middle, and before the last step, after which only the result is missing."""
    cfg = tiny_config(root, ALWAYS)
    folder = run_folder(cfg).path
    with monkeypatch.context() as vanishing:
        at_step(vanishing, step, lambda: shutil.rmtree(folder))
        with pytest.raises(CapsbenchError, match="has been removed or moved while the run was working in it"):
            run(cfg)
    assert not folder.exists()
    run(cfg)
    assert_same_run(folder, trained.folder)


def test_a_folder_that_is_moved_goes_on_where_it_is(trained, root, monkeypatch):
    cfg, other = tiny_config(root, ALWAYS), tiny_config(root / "elsewhere", ALWAYS)
    folder, place = run_folder(cfg).path, run_folder(other).path

    def move():
        place.parent.mkdir(parents=True)
        folder.rename(place)

    with monkeypatch.context() as moving:
        at_step(moving, 6, move)
        with pytest.raises(CapsbenchError, match="has been removed or moved"):
            run(cfg)
    shutil.rmtree(place / "claim")
    run(other)
    assert_same_run(place, trained.folder)


def test_a_claim_that_was_taken_over_is_respected(trained, root, monkeypatch):
    """After a laptop's long sleep another process has the run: this one stops before it writes anything."""
    cfg = tiny_config(root, ALWAYS)
    folder = run_folder(cfg).path
    with monkeypatch.context() as sleeping:
        theirs = '{"host": "elsewhere", "pid": 7}'
        at_step(sleeping, 6, lambda: (folder / "claim" / "beat").write_text(theirs))
        with pytest.raises(CapsbenchError, match="process 7 on elsewhere has taken it over"):
            run(cfg)
    assert (folder / "claim" / "beat").read_text() == theirs
    assert not (folder / "failed.json").exists()


@needs_small_disk
def test_a_disk_that_is_read_only(tmp_path):
    with mounted(tmp_path / "disk", 4 * MEGABYTE) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(CannotWrite, match="Read-only file system"):
            run(tiny_config(disk / "runs"))


@needs_small_disk
def test_a_disk_that_is_taken_out(trained, tmp_path, monkeypatch):
    """What was on it is gone with it; the place where it was is not written to."""
    with mounted(tmp_path / "disk", 16 * MEGABYTE) as disk:
        cfg = tiny_config(disk / "runs", ALWAYS)
        with monkeypatch.context() as taken:
            at_step(taken, 6, lambda: subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True))
            try:
                with pytest.raises(CapsbenchError, match="has been removed or moved"):
                    run(cfg)
                assert list(disk.iterdir()) == []
            finally:
                subprocess.run(["umount", "--lazy", disk], check=True)
        # A new process would find this claim's holder dead.
        shutil.rmtree(run_folder(cfg).path / "claim")
        run(cfg)
        assert_same_run(run_folder(cfg).path, trained.folder)
