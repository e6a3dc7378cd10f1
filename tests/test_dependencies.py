"""Every requirement has an upper bound, and constraints.txt names a version within it for all that is pulled in."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from capsbench.compose import shipped

TOP = shipped("conf").parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Ray and the dashboard are not part of the tested set: their own dependencies contradict it or are many.
TESTED = [extra for extra in EXTRAS if extra not in ("ray", "dashboard")]
# What pip itself brings, or what only the build needs.
BROUGHT = {"pip", "setuptools", "wheel", "capsbench"}


def declared() -> Iterator[tuple[str, Requirement]]:
    yield from (("build", Requirement(line)) for line in PROJECT["build-system"]["requires"])
    yield from (("base", Requirement(line)) for line in PROJECT["project"]["dependencies"])
    yield from ((extra, Requirement(line)) for extra, lines in EXTRAS.items() for line in lines)


def constraints() -> dict[str, Version]:
    lines = [line.strip() for line in (TOP / "constraints.txt").read_text().splitlines()]
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(exact.split(";")[0].strip()) for name, exact in pinned}


@pytest.mark.parametrize(("where", "requirement"), list(declared()), ids=str)
def test_every_requirement_has_both_bounds(where, requirement):
    operators = {each.operator for each in requirement.specifier}
    assert operators & {"<", "<=", "==", "~="}, f"{where}: {requirement} has no upper bound"
    assert operators & {">=", ">", "==", "~="}, f"{where}: {requirement} has no lower bound"


def test_the_tested_set_is_within_the_bounds():
    known = constraints()
    for where, requirement in declared():
        name = canonicalize_name(requirement.name)
        if where in ("base", *TESTED):
            assert name in known, f"{where}: constraints.txt has no {name}"
        if name in known:
            assert requirement.specifier.contains(known[name], prereleases=True), f"{requirement}: {known[name]}"


def test_the_tested_set_is_sorted_exact_and_names_no_host():
    text = (TOP / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+(?:\s*;.*)?", line) for line in lines)
    assert lines == sorted(lines, key=str.casefold)
    assert "://" not in text


def test_the_tested_set_covers_whatever_is_pulled_in():
    """From every declared requirement down through what is installed here."""
    known, seen = constraints(), set()
    waiting = [requirement for where, requirement in declared() if where in ("base", *TESTED)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, tuple(sorted(requirement.extras)))
        if key in seen or name in BROUGHT:
            continue
        seen.add(key)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        assert name in known, f"{name} is installed and not in constraints.txt"
        if Version(version(name).split("+")[0]) != known[name]:
            # Installed by hand, beside the tested set (Ray brings older ones): what it needs is not of the set.
            continue
        for line in lines:
            inner = Requirement(line)
            environments = [{"extra": extra} for extra in (*requirement.extras, "")]
            if inner.marker is None or any(inner.marker.evaluate(each) for each in environments):
                waiting.append(inner)
    assert len(seen) > 40
