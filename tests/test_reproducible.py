"""Promise: a configuration and a seed are a result, bit for bit, whatever else this process has done."""

import pytest
import torch

from capsbench.training.runs import run_folder
from capsbench.training.train import run
from tiny import assert_same_run, read_rows, read_weights, tiny_config

pytestmark = pytest.mark.usefixtures("tiny_data")


def test_the_same_seed_is_the_same_run(trained, root):
    """After other runs, and with the random generators anywhere."""
    run(tiny_config(root / "other", "seed=5", "trainer.steps=3"))
    torch.rand(17)
    cfg = tiny_config(root / "again")
    run(cfg)
    assert_same_run(run_folder(cfg).path, trained.folder)


def test_what_does_not_belong_to_the_identity_changes_nothing(trained, root):
    """How often rows and checkpoints are written, and how large evaluation batches are."""
    cfg = tiny_config(
        root, "trainer.log_every=3", "trainer.checkpoint_minutes=1e-9", "trainer.eval_batch_size=5", "run.notes=x"
    )
    run(cfg)
    folder = run_folder(cfg).path
    assert folder.relative_to(root) == trained.folder.relative_to(trained.cfg.run.root)
    weights = read_weights(trained.folder / "last.ckpt")
    assert all(torch.equal(value, weights[name]) for name, value in read_weights(folder / "last.ckpt").items())


def test_another_seed_is_another_run_of_the_same_arm(trained, root):
    cfg = tiny_config(root, "seed=1")
    run(cfg)
    folder = run_folder(cfg).path
    assert folder.parent.relative_to(root) == trained.folder.parent.relative_to(trained.cfg.run.root)
    weights = read_weights(trained.folder / "last.ckpt")
    assert not any(torch.equal(value, weights[name]) for name, value in read_weights(folder / "last.ckpt").items())
    assert read_rows(folder / "metrics.csv") != read_rows(trained.folder / "metrics.csv")
