"""Every shipped sweep can be carried out as it stands: all arms of all presets compose, and a dry run lists them."""

import functools
import subprocess
import sys

import pytest

from capsbench.cli import main
from capsbench.compose import shipped
from capsbench.studies.plan import plan
from capsbench.studies.search_file import Search, load_design
from capsbench.sweep_file import Sweep
from capsbench.sweep_yaml import available_sweeps

FOLDER = shipped("sweeps")
NAMES = available_sweeps(FOLDER)


@functools.cache
def presets(name):
    import yaml

    return (None, *(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).get("presets") or {}))


def capsbench(monkeypatch, *words):
    """The command in this process; its exit status."""
    monkeypatch.setattr("sys.argv", ["capsbench", *words])
    try:
        main()
    except SystemExit as ended:
        return ended.code or 0
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(load_design(name, FOLDER), Sweep)])
def test_every_arm_of_every_preset_has_a_folder_of_its_own(name, tmp_path):
    for preset in presets(name):
        design = load_design(name, FOLDER, preset)
        runs = plan(design, [f"run.root={tmp_path}"])
        assert [(run.arm, run.seed) for run in runs] == [(arm, seed) for seed in design.seeds for arm in design.arms]
        assert len({run.folder.path for run in runs}) == len(runs)
        assert {run.folder.path.parents[1] for run in runs} == {tmp_path / design.group}
        assert all(run.needs_work(retry_failed=False) for run in runs)


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_says_how_many_there_are_and_touches_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # The smallest preset, so that the test is fast; the slow test above composes all of them.
    preset = min(presets(name)[1:], key=lambda one: _size(load_design(name, FOLDER, one)), default=None)
    words = [] if preset is None else ["--preset", preset]
    assert capsbench(monkeypatch, "sweep", name, "--dry-run", *words) == 0
    design = load_design(name, FOLDER, preset)
    noun = "trials" if isinstance(design, Search) else "runs"
    assert f"{_size(design)} {noun}: " in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_both_commands_start_the_same_runs(tmp_path, monkeypatch):
    """`capsbench train -m +sweep=quick` and `capsbench sweep quick`."""
    monkeypatch.chdir(tmp_path)
    started = []

    def carry_out(sweep, config, context):
        started.append([(run.key, run.overrides) for run in sweep.todo])
        return 0

    monkeypatch.setattr("capsbench.studies.ablation_sweep.AblationSweep.run", carry_out)
    assert capsbench(monkeypatch, "sweep", "quick", "--no-report", "trainer.epochs=2") == 0
    assert capsbench(monkeypatch, "train", "-m", "+sweep=quick", "trainer.epochs=2") == 0
    planned = [(run.key, run.overrides) for run in plan(load_design("quick", FOLDER), ["trainer.epochs=2"])]
    assert started == [planned, planned]


def test_one_command_finds_what_the_other_has_done(ablation, monkeypatch):
    ablation.run("")
    words = ["-m", "hydra/sweeper=capsbench_study", "hydra.sweeper.sweep=mine.yaml", "run.notes=''"]
    again = [sys.executable, "-m", "capsbench", "train", *words]
    done = subprocess.run(again, cwd=ablation.path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "all 6 runs are there already" in done.stdout
    assert set(ablation.executions("end").values()) == {1}


def _size(design):
    return design.trials if isinstance(design, Search) else len(design.arms) * len(design.seeds)
