"""Imports point one way: from the command line down to the configuration (contracts in pyproject.toml)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import capsbench
from capsbench.compose import shipped

PYPROJECT = shipped("conf").parent / "pyproject.toml"


def test_contracts_are_kept(capsys):
    assert lint_imports(config_filename=str(PYPROJECT), no_cache=True) == 0, capsys.readouterr().out


def test_the_contracts_would_notice(tmp_path):
    """In a copy of the package with one wrong import in each of three rooms, each of the three contracts breaks."""
    copy = tmp_path / "capsbench"
    shutil.copytree(Path(capsbench.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    wrong = {
        "capsules/squash.py": "import pytorch_lightning",
        "losses.py": "from capsbench.training import schedule",
        "report/summary.py": "from capsbench.models import build",
    }
    for name, line in wrong.items():
        with (copy / name).open("a") as file:
            file.write(f"\n{line}\n")
    command = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    found = subprocess.run(
        [sys.executable, "-c", command, "--config", str(PYPROJECT), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert found.returncode == 1, found.stderr
    for expected in (
        "capsbench.capsules is not allowed to import pytorch_lightning",
        "capsbench.losses is not allowed to import capsbench.training",
        "capsbench.report is not allowed to import capsbench.models",
    ):
        assert expected in found.stdout


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (["capsbench", "capsbench.cli"], ["torch", "hydra", "omegaconf", "numpy", "yaml", "wandb"]),
        (["capsbench.capsules.votes", "capsbench.losses"], ["pytorch_lightning", "hydra", "wandb", "optuna"]),
        (
            ["capsbench.studies.plan", "capsbench.studies.worker", "capsbench.studies.sweeper"],
            ["torch", "pytorch_lightning", "wandb"],
        ),
        (["capsbench.report.report"], ["torch", "pytorch_lightning", "wandb"]),
        (["capsbench.training.runs", "capsbench.training.identity"], ["torch", "pytorch_lightning", "wandb"]),
    ],
    ids=lambda names: names[-1] if names[0].startswith("capsbench") else "",
)
def test_what_importing_a_module_loads(modules, forbidden):
    """In a fresh interpreter: what is imported inside functions does not count, what comes along indirectly does."""
    script = f"import sys\nimport {', '.join(modules)}\nprint(sorted(set({forbidden}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
