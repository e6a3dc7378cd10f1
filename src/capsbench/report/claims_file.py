"""The verdicts on what people say about capsules as a small file to be committed: claims.json."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capsbench.files import write_atomic
from capsbench.report.claims import JudgedClaim
from capsbench.report.effect import Effect
from capsbench.report.findings import Finding
from capsbench.report.results_file import SCHEMA, sweep_command, to_text

KIND = "claims"
FILE = "claims.json"


def write_claims_file(judged: Sequence[JudgedClaim], folder: Path) -> Path:
    """Write `claims.json`: verdict, evidence and command of every claim, in the same bytes for the same runs."""
    path = folder / FILE
    values = {"schema": SCHEMA, "kind": KIND, "claims": [_claim(one) for one in judged]}
    write_atomic(path, to_text(values))
    return path


def _claim(one: JudgedClaim) -> dict[str, Any]:
    return {
        "name": one.claim.name,
        "statement": one.claim.statement,
        "source": one.claim.source,
        "test": one.claim.test,
        "verdict": str(one.standing),
        "findings": [_finding(found) for found in one.findings],
        "also": [_finding(found) for found in one.also],
        "across": one.across,
        "to_decide": one.commands,
    }


def _finding(found: Finding) -> dict[str, Any]:
    item = found.evidence
    preset = found.origin.removeprefix(item.sweep).removeprefix("-") or None
    return {
        "sweep": item.sweep,
        "a": item.a,
        "b": item.b,
        "asked": str(item.kind),
        "metric": item.metric,
        "verdict": str(found.standing),
        "text": found.text,
        "numbers": found.numbers,
        "effect": _effect(found.effect) if found.effect else None,
        "setting": found.setting,
        "seeds": list(found.seeds),
        "evidence": f"{found.origin}.json" if found.origin else None,
        "command": sweep_command(item.sweep, preset) if found.origin else found.command,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    kept = {"value": effect.value, "low": effect.low, "high": effect.high, "neutral": effect.neutral}
    numbers = {name: float(f"{value:.6g}") for name, value in kept.items() if math.isfinite(value)}
    return {"name": effect.name, "scale": str(effect.scale), "text": effect.text, **numbers}
