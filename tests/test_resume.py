"""Promise: a run that was stopped anywhere goes on to the very bits of one that never was."""

import shutil
from pathlib import Path

import pytest

from capsbench.training.callbacks.checkpoints import Checkpoints
from capsbench.training.runs import run_folder
from capsbench.training.train import run
from tiny import CAPSNET, CNN, assert_same_run, read_rows, tiny_config

pytestmark = pytest.mark.usefixtures("tiny_data")

# Everything that has a state: routing and decoder; random numbers of dropout and running means of batch normalisation.
MODELS = {"capsnet": CAPSNET, "cnn": (*CNN, "model.dropout=0.5", "model.batch_norm=true")}
ALWAYS = "trainer.checkpoint_minutes=1e-9"


@pytest.mark.parametrize("model", MODELS)
def test_from_every_checkpoint_of_a_run(root, monkeypatch, model):
    """A checkpoint after every step, in the middle of epochs and at their ends, and what each of them goes on to."""
    whole = tiny_config(root / "whole", ALWAYS, model=MODELS[model])
    cuts: list[tuple[int, Path]] = []
    save = Checkpoints.save_last

    def save_and_keep(self, trainer, pl_module):
        save(self, trainer, pl_module)
        cut = root / f"cut{len(cuts)}"
        shutil.copytree(self.folder, cut, ignore=shutil.ignore_patterns("claim"))
        cuts.append((trainer.global_step, cut))

    with monkeypatch.context() as kept:
        kept.setattr(Checkpoints, "save_last", save_and_keep)
        run(whole)
    assert [step for step, _ in cuts] == list(range(1, 11))
    tried = cuts if model == "capsnet" else [cuts[2], cuts[4], cuts[8]]
    for step, cut in tried:
        cfg = tiny_config(root / f"from{step}", ALWAYS, model=MODELS[model])
        folder = run_folder(cfg).path
        shutil.copytree(cut, folder)
        run(cfg)
        assert_same_run(folder, run_folder(whole).path)


def test_rows_logged_before_the_first_checkpoint_are_not_doubled(trained, root):
    """Ctrl-C writes metrics.csv even where no checkpoint exists yet; the run then starts from scratch."""
    folder = trained.copy(root)
    for name in ("result.json", "last.ckpt", "best.ckpt"):
        (folder / name).unlink()
    run(tiny_config(root))
    assert read_rows(folder / "metrics.csv") == read_rows(trained.folder / "metrics.csv")


def test_training_time_goes_on(trained, root, monkeypatch):
    """The clock of the second part starts where the first part's checkpoint left it."""
    folder = trained.copy(root)
    (folder / "result.json").unlink()
    before = trained.result["metrics"]["time/train_seconds"]
    assert run(tiny_config(root))["metrics"]["time/train_seconds"] == pytest.approx(before)
