"""Where a result comes from."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
import torch

from capsbench import __version__
from capsbench.training import provenance


@pytest.fixture(autouse=True)
def fresh():
    """No answer of an earlier test is remembered."""
    provenance.code_state.cache_clear()
    yield
    provenance.code_state.cache_clear()


def git(folder, *arguments):
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with this package's file in it."""
    package = tmp_path / "src"
    package.mkdir()
    (package / "provenance.py").write_text("first")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    return tmp_path


def head(folder):
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_commit_of_a_clean_checkout(checkout):
    state = provenance.code_state()
    assert state["commit"] == head(checkout).strip()
    assert state["dirty"] is False
    assert state["capsbench"] == __version__
    (checkout / "notes.txt").write_text("untracked files change no result")
    provenance.code_state.cache_clear()
    assert provenance.code_state()["dirty"] is False


def test_changed_files_make_it_dirty(checkout):
    (checkout / "src" / "provenance.py").write_text("second")
    state = provenance.code_state()
    assert state["dirty"] is True
    assert state["describe"].endswith("-dirty")


def test_an_installed_copy_inside_some_other_repository_has_no_commit(checkout, monkeypatch):
    """A virtual environment inside a user's own project is not this project's checkout."""
    packages = checkout / "venv" / "capsbench"
    packages.mkdir(parents=True)
    (packages / "provenance.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(packages / "provenance.py"))
    state = provenance.code_state()
    assert state["commit"] is None
    assert state["dirty"] is None


def test_without_git_or_a_repository_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.code_state()["commit"] is None
    provenance.code_state.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.code_state()["commit"] is None


def test_machine_and_versions():
    found = provenance.machine()
    assert found["packages"]["torch"] == torch.__version__
    assert found["packages"]["numpy"]
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["python"] == sys.version.split()[0]


def test_command_and_moment(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/ann/.venv/bin/capsbench", "train", "seed=3"])
    before = datetime.now(UTC).replace(microsecond=0)
    found = provenance.provenance()
    assert found["command"] == "capsbench train seed=3"
    assert before <= datetime.fromisoformat(found["started"]) <= datetime.now(UTC)
