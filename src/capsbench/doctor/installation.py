"""Versions of everything that decides a result, and whether they are those that this package was made for."""

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from capsbench.doctor.finding import Finding, ok, problem, warning

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

SHOWN = ("torch", "pytorch-lightning", "hydra-core", "optuna", "wandb", "numpy")
OLDEST, NEWEST = (3, 11), (3, 13)


def python() -> Finding:
    """The interpreter and the operating system."""
    found = f"{platform.python_version()} ({platform.python_implementation()}), {platform.platform()}"
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return problem("python", found, "install Python 3.11, 3.12 or 3.13 and capsbench into it")
    return ok("python", found)


def package() -> Finding:
    """This package, and the commit it is at."""
    from capsbench.training.provenance import code_state

    state = code_state()
    commit = f"commit {state['describe'] or state['commit']}" if state["commit"] else "no checkout"
    found = f"{state['capsbench']}, {commit}"
    if state["dirty"]:
        return warning("capsbench", f"{found}, with uncommitted changes", "commit, so that results name their code")
    return ok("capsbench", found)


def packages() -> Iterator[Finding]:
    """Versions that matter, those outside the ranges that this package was tested with, and the extras."""
    yield ok("packages", ", ".join(f"{name} {_version(name) or 'missing'}" for name in SHOWN))
    wrong: list[str] = []
    extras: dict[str, bool] = {}
    for name, specifier, extra in _required():
        found = _version(name)
        if extra:
            extras[extra] = extras.get(extra, True) and found is not None
        if found is None and not extra:
            wrong.append(f"{name} is missing (needs {specifier})")
        elif found is not None and not specifier.contains(found, prereleases=True):
            wrong.append(f"{name} {found} (needs {specifier})")
    if wrong:
        yield problem(
            "requirements", "; ".join(wrong), "install capsbench again: `pip install -c constraints.txt -e .[dev]`"
        )
    else:
        yield ok("requirements", "every package is within the range that capsbench asks for")
    there = [name for name, complete in sorted(extras.items()) if complete]
    gone = [name for name, complete in sorted(extras.items()) if not complete]
    yield ok("extras", f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(gone) or 'none'}")


def _required() -> "Iterator[tuple[str, SpecifierSet, str]]":
    """Name, range and extra of every requirement that holds on this Python."""
    from packaging.requirements import Requirement

    for line in requires("capsbench") or ():
        requirement = Requirement(line)
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)""", str(requirement.marker or ""))
        yield requirement.name, requirement.specifier, extra[1] if extra else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
