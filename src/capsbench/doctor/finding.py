"""What one look at the installation found, and all of them as text or JSON that a bug report can paste."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from capsbench import __version__
from capsbench.training.wandb_session import URL_PASSWORD

# A key that a client quotes in its own error.
LONG_KEY = re.compile(r"\b(?:wandb_v1_[A-Za-z0-9_]{20,}|[0-9a-f]{40}(?=\W*$))")


class Health(StrEnum):
    """How a part of the installation is: as it should be, workable with a loss, or in the way of a run."""

    ok = "ok"
    warning = "warning"
    problem = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer.

    Attributes:
        name: what was looked at.
        health: how it is.
        detail: what was found, without anything secret.
        advice: what to do about it; empty where nothing is to be done.
    """

    name: str
    health: Health
    detail: str
    advice: str = ""


def ok(name: str, detail: str) -> Finding:
    """All as it should be."""
    return Finding(name, Health.ok, detail)


def warning(name: str, detail: str, advice: str) -> Finding:
    """Runs work, with a loss."""
    return Finding(name, Health.warning, detail, advice)


def problem(name: str, detail: str, advice: str) -> Finding:
    """Runs cannot work."""
    return Finding(name, Health.problem, detail, advice)


def examined(name: str, look: Callable[[], Finding | Iterable[Finding]]) -> list[Finding]:
    """What a look found; a look that breaks is itself a finding, since a doctor must not die of a patient."""
    try:
        found = look()
        findings = [found] if isinstance(found, Finding) else list(found)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        what = lines[0] if type(error).__name__ == "CapsbenchError" else f"{type(error).__name__}: {lines[0]}"
        findings = [problem(name, what, "; ".join(line.strip() for line in lines[1:]) or "see the message")]
    return [Finding(each.name, each.health, presentable(each.detail), presentable(each.advice)) for each in findings]


def presentable(text: str) -> str:
    """Without passwords in addresses, keys, and the name of the user's home."""
    text = LONG_KEY.sub("***", URL_PASSWORD.sub("***@", text))
    try:
        home = str(Path.home())
    except RuntimeError:
        return text
    return re.sub(rf"{re.escape(home)}(?=/|\s|$|[,;:)])", "~", text) if len(home) > 1 else text


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, and at the end what to do."""
    width = max(len(each.name) for each in findings)
    lines = [f"{each.health:<8} {each.name:<{width}}  {each.detail}" for each in findings]
    todo = [each for health in (Health.problem, Health.warning) for each in findings if each.health is health]
    lines.append("")
    if not todo:
        lines.append("Nothing to do: `capsbench sweep quick` should work here.")
        return "\n".join(lines)
    found = ", ".join(
        f"{count} {health}{'s' if count > 1 else ''}"
        for health in (Health.problem, Health.warning)
        if (count := sum(each.health is health for each in todo))
    )
    lines.append(f"{found}. What to do:")
    lines += [f"  {each.name}: {each.advice}" for each in todo]
    if not has_problems(todo):
        lines.append("Runs work as it is: `capsbench sweep quick`.")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """The same for programs."""
    values = {"schema": 1, "capsbench": __version__, "findings": [asdict(each) for each in findings]}
    return json.dumps(values, indent=1)


def has_problems(findings: Iterable[Finding]) -> bool:
    """Whether something is in the way of a run."""
    return any(each.health is Health.problem for each in findings)
