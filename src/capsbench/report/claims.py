"""Verdicts on what people say about capsules, from the runs that are there, by the rules of the statistics.

Each claim is a question of its own, and no run decides more than its test can see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from capsbench.report.analysis import Analysis, comparable_runs
from capsbench.report.claim_table import CLAIMS, Claim, Evidence
from capsbench.report.findings import ERRORS, Finding, Standing, weigh
from capsbench.report.statistics.seeds import improvement_across

Analyses = Mapping[str, Sequence[Analysis]]


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, its verdict and the findings behind it.

    Attributes:
        claim: what is said.
        standing: its verdict.
        findings: what decides it.
        also: what was measured besides; decides nothing.
        across: the mean probability of improvement over the data sets of all findings; empty where there is one.
        first_look: what the sweep `quick` says while nothing better has run; decides nothing.
    """

    claim: Claim
    standing: Standing
    findings: tuple[Finding, ...]
    also: tuple[Finding, ...] = ()
    across: str = ""
    first_look: tuple[Finding, ...] = ()

    @property
    def commands(self) -> list[str]:
        """What to run to decide it; empty where it is decided."""
        if self.standing in (Standing.supported, Standing.refuted):
            return []
        return list(dict.fromkeys(finding.command for finding in self.findings if finding.command))


def judge_all(analyses: Analyses, claims: Sequence[Claim] = CLAIMS) -> list[JudgedClaim]:
    """A verdict on every claim."""
    return [judge_claim(claim, analyses) for claim in claims]


def judge_claim(claim: Claim, analyses: Analyses) -> JudgedClaim:
    """Supported where all evidence is; refuted where any is; not yet run where none of it has run."""
    findings = tuple(weigh(item, analyses.get(item.sweep)) for item in claim.evidence)
    standings = {finding.standing for finding in findings}
    if Standing.refuted in standings:
        standing = Standing.refuted
    elif len(standings) == 1:
        (standing,) = standings
    else:
        standing = Standing.undecided
    also = _run(claim.also, analyses)
    looks = _run(claim.first_look, analyses) if standing is Standing.not_run else ()
    return JudgedClaim(claim, standing, findings, also, _across((*also, *findings), analyses), looks)


def _run(items: Sequence[Evidence], analyses: Analyses) -> tuple[Finding, ...]:
    found = (weigh(item, analyses.get(item.sweep)) for item in items)
    return tuple(finding for finding in found if finding.standing is not Standing.not_run)


def _across(findings: Sequence[Finding], analyses: Analyses) -> str:
    """Mean probability that a run of B makes fewer errors than one of A, over several data sets."""
    counts: dict[str, list[np.ndarray]] = {}
    for finding in findings:
        item = finding.evidence
        origin = (one for one in analyses.get(item.sweep, ()) if one.ablation.sweep.group == finding.origin)
        analysis = next(origin, None)
        if analysis is None or item.metric not in ERRORS:
            continue
        arms, sweep = analysis.ablation.arms, analysis.ablation.sweep
        runs = [comparable_runs(arms[name], item.metric, sweep.checkpoint) for name in (item.b, item.a)]
        name = str((runs[0][0].config.get("data") or {}).get("name") or "")
        counts[name] = [np.array([round(run.metrics[item.metric]) for run in found]) for found in runs]
    if len(counts) < 2:
        return ""
    mean, low, high = improvement_across([b for b, _ in counts.values()], [a for _, a in counts.values()])
    return (
        f"Over {', '.join(counts)}: P(a run of the second arm makes fewer errors) is {mean:.2f} on average, 95 % "
        f"[{low:.2f}, {high:.2f}] (seeds drawn anew within each data set; decides nothing)."
    )
