"""The command line as a user meets it. Commands run in this process; two checks need a fresh one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from capsbench import __version__, cli
from capsbench.training.runs import State, find_runs
from capsbench.training.task import ClassificationTask
from tiny import CAPSNET, RUN


@pytest.fixture(autouse=True)
def undisturbed_environment(monkeypatch, tmp_path):
    """What commands set for themselves ends with the test; nothing of the user's is touched."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    saved = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAPSBENCH_DATA", raising=False)
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["capsbench"])
    yield
    os.environ.clear()
    os.environ.update(saved)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def capsbench(*arguments: str) -> int:
    """Exit status of a command."""
    sys.argv = ["capsbench", *arguments]
    try:
        cli.main()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def train(*overrides: str) -> int:
    return capsbench("train", *RUN, *CAPSNET, "run.root=runs", *overrides)


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """Every training step that is done."""
    seen: list[int] = []
    real = ClassificationTask.training_step

    def training_step(self, batch, batch_idx):
        seen.append(self.global_step)
        return real(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationTask, "training_step", training_step)
    return seen


def test_help_names_every_command(capsys):
    assert capsbench("--help") == 0
    text = capsys.readouterr().out
    for command in ("train", "sweep", "status", "report", "sync", "data", "keys", "completion"):
        assert f"\n    {command}" in text
    assert "Exit status: 0 done, 1 a run failed (doctor: a problem), 2 a mistake" in text


def test_without_a_command_help_is_shown_as_a_mistake(capsys):
    assert capsbench() == 2
    assert "COMMAND" in capsys.readouterr().out


def test_version(capsys):
    assert capsbench("--version") == 0
    assert capsys.readouterr().out == f"capsbench {__version__}\n"


def test_unknown_command(capsys):
    assert capsbench("trian") == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_help_and_import_load_nothing_heavy():
    """`capsbench --help` answers at once: no PyTorch, no Hydra, nothing that takes longer than Python itself."""
    script = (
        "import sys\nsys.argv = ['capsbench', '--help']\nfrom capsbench.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'hydra', 'omegaconf', 'pytorch_lightning', 'wandb', 'optuna', 'yaml'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "capsbench train" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_composing_a_run_loads_no_torch():
    """`--cfg job` and every mistake in an override are answered before PyTorch is imported."""
    script = (
        "import sys\nsys.argv = ['capsbench', 'train', 'seed=3', '--cfg', 'job']\n"
        "from capsbench.cli import main\nmain()\n"
        "print('HEAVY', sorted({'torch', 'pytorch_lightning', 'wandb', 'matplotlib', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "seed: 3" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_cfg_job_shows_the_resolved_run_and_starts_nothing(capsys, tmp_path):
    assert capsbench("train", "model=cnn_small", "trainer.epochs=3", "--cfg", "job", "--resolve") == 0
    shown = capsys.readouterr().out
    assert "  epochs: 3\n" in shown
    assert "  name: cnn_small\n" in shown
    assert "  arm: cnn_small\n" in shown
    assert list(tmp_path.iterdir()) == []


def test_training_help_lists_groups(capsys):
    assert capsbench("train", "--help") == 0
    text = capsys.readouterr().out
    assert "capsnet_small" in text
    assert "capsbench keys" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.epoch=3"], "capsbench: unknown key trainer.epoch; did you mean trainer.epochs"),
        (["trainer.epochs=many"], "capsbench: trainer.epochs: "),
        (["trainer.epochs=0"], "capsbench: trainer.epochs=0 must be at least 1\n"),
        (["model=capsnett"], "capsbench: model=capsnett is not known; did you mean model=capsnet?"),
        (["run.group=a/b"], "capsbench: run.group='a/b' must be a plain folder name"),
        (["data.root=nowhere"], "nowhere"),
        (["trainer.precision=16"], "capsbench: trainer.precision=16 is unknown; valid: auto, 32-true, bf16-mixed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_message_and_status_2(capsys, overrides, message):
    assert train(*overrides) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert "Error executing job" not in shown.err


def test_a_missing_data_root_says_what_was_looked_for(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert train(f"data.root={tmp_path / 'empty'}") == 2
    shown = capsys.readouterr().err
    assert "train-images-idx3-ubyte" in shown
    assert str(tmp_path / "empty") in shown


@pytest.mark.usefixtures("tiny_data")
def test_train_then_the_same_command_again(capsys, steps):
    assert train("debug=fast", "trainer.log_every=1") == 0
    assert "capsnet_small seed 0: test error" in capsys.readouterr().out
    assert steps == [0, 1]
    (run,) = find_runs(Path("runs"), "debug_fast")
    assert run.state is State.done
    before = {item.name: item.stat().st_mtime_ns for item in run.path.iterdir()}
    assert train("debug=fast", "trainer.log_every=1") == 0
    assert "capsnet_small seed 0: test error" in capsys.readouterr().out
    assert steps == [0, 1]
    assert before == {item.name: item.stat().st_mtime_ns for item in run.path.iterdir()}


@pytest.mark.usefixtures("tiny_data")
def test_multirun_does_every_combination_and_skips_what_is_done(steps):
    small = ("debug=fast", "evaluation=minimal")
    assert train(*small, "seed=1") == 0
    assert train("-m", *small, "seed=0,1") == 0
    assert len(steps) == 4
    assert [run.path.name for run in find_runs(Path("runs"))] == ["seed00", "seed01"]
    assert all(run.state is State.done for run in find_runs(Path("runs")))
    assert train("-m", *small, "seed=0,1") == 0
    assert len(steps) == 4


@pytest.mark.usefixtures("tiny_data")
def test_a_loss_that_is_not_a_number_is_a_message(capsys, monkeypatch):
    real = ClassificationTask._step_losses

    def spoiled(self, images, labels):
        losses, correct = real(self, images, labels)
        return {**losses, "loss": losses["loss"] * float("nan")}, correct

    monkeypatch.setattr(ClassificationTask, "_step_losses", spoiled)
    assert train("debug=fast") == 2
    shown = capsys.readouterr().err
    assert "the loss was not finite at step 1" in shown
    assert "Traceback" not in shown


@pytest.mark.usefixtures("tiny_data")
def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(nn.Conv2d, "forward", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        train("debug=fast")
    (run,) = find_runs(Path("runs"))
    assert run.state is State.failed


@pytest.mark.usefixtures("tiny_data")
def test_ctrl_c_is_status_130_and_no_traceback(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassificationTask, "training_step", interrupted)
    assert train("debug=fast") == 130
    assert "the same command goes on from here" in capsys.readouterr().err


def test_keys_explains_what_starts_with_a_prefix(capsys):
    assert capsbench("keys", "model.routing.it") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("model.routing.iterations = 3\n    routing iterations")
    assert "trainer" not in shown
    assert capsbench("keys") == 0
    assert "trainer.epochs = 10" in capsys.readouterr().out
