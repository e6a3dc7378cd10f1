"""Promise: a configuration and a seed are a result, bit for bit, whatever else this process has done."""

import pytest
import torch

from capsbench.compose import compose
from capsbench.data.batches import epoch_plan
from capsbench.data.splits import load_splits
from capsbench.evaluation.transforms import draw_parameters
from capsbench.training.runs import run_folder
from capsbench.training.train import build_run_model, run
from tiny import CAPSNET, CNN, assert_same_run, read_rows, read_weights, tiny_config, tiny_splits

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


@pytest.mark.parametrize(
    "model", [CAPSNET, (*CNN, "model.dropout=0.5", "model.batch_norm=true")], ids=["capsnet", "cnn"]
)
def test_deterministic_mode_twice(root, model):
    """`trainer.deterministic=true` refuses what PyTorch does not promise to repeat, and there is nothing of it."""
    folders = []
    for name in ("one", "two"):
        cfg = tiny_config(root / name, "trainer.deterministic=true", model=model)
        try:
            run(cfg)
        finally:
            torch.use_deterministic_algorithms(False)
        folders.append(run_folder(cfg).path)
    assert_same_run(*folders)


def test_a_seed_changes_what_is_drawn_for_training_and_nothing_else(tmp_path):
    """Weights, order and shifts are other ones; images, split, test set and every evaluation's draws are the same."""
    one, two = (compose([f"seed={seed}", "data=mnist_small", *CAPSNET]) for seed in (0, 1))
    assert one.data == two.data
    assert one.evaluation == two.evaluation
    splits = [load_splits(cfg.data) for cfg in (one, two)]
    for name, value in vars(splits[0]).items():
        other = getattr(splits[1], name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name
    moved = [draw_parameters(splits[0].test_images[:20], 1, 2, cfg.evaluation.affine.seed) for cfg in (one, two)]
    assert torch.equal(*moved)
    for first, second in zip(epoch_plan(100, 2, one.seed, 0), epoch_plan(100, 2, two.seed, 0), strict=True):
        assert not torch.equal(first, second)
    networks = []
    for cfg in (one, two):
        torch.manual_seed(cfg.seed)
        networks.append(dict(build_run_model(cfg, tiny_splits()).named_parameters()))
    drawn = [name for name, value in networks[0].items() if value.std() > 1e-6]
    assert len(drawn) == 5
    assert not any(torch.equal(networks[0][name], networks[1][name]) for name in drawn)
