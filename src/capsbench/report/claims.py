"""Verdicts on what people say about capsules, from the runs that are there, by the rules of the statistics.

Each claim is a question of its own: it is supported or refuted at 5 % only where at least `MIN_SEEDS` seeds per arm
have finished. Pairs that the sweep declares take their p-value after Holm over that sweep's comparisons. Whatever is
not decided either way is undecided, and no run decides more than its test can see.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float

from capsbench.compose import compose_many
from capsbench.config import run_hash
from capsbench.errors import CapsbenchError
from capsbench.report.analysis import Analysis, Comparison, analyse, comparable_runs, compare
from capsbench.report.claim_table import AFFINE, CLAIMS, Claim, Evidence, Kind
from capsbench.report.collect import ArmRuns, collect
from capsbench.report.concerns import mixtures
from capsbench.report.results_file import read_results_file, read_values, results_files
from capsbench.report.statistics.intervals import summarize
from capsbench.report.statistics.seeds import BETTER_MARK
from capsbench.report.verdicts import ALPHA, Verdict, images_in_10_000, p_text, sentence
from capsbench.sweep_file import Sweep, load_sweep
from capsbench.sweep_yaml import find_file, read_file
from capsbench.training.runs import find_runs

MIN_SEEDS = 3
ERRORS = ("test/errors", AFFINE)
# A run that never got there took longer than all that did.
NEVER_IS_LONGEST = "time/seconds_to_target"

Analyses = Mapping[str, Sequence[Analysis]]


class Standing(StrEnum):
    """Where a claim stands."""

    supported = "supported"
    refuted = "refuted"
    undecided = "undecided"
    not_run = "not yet run"


@dataclass(frozen=True)
class Finding:
    """What one piece of evidence says.

    Attributes:
        evidence: the test.
        standing: its verdict.
        text: the finding in words, or why there is none.
        numbers: the statistics behind it.
        seeds: finished seeds of A and B.
        caveats: what weakens it: runs that are left out, mixed commits and machines.
        origin: sweep, and preset, that the runs belong to; empty without runs.
        command: what would decide it.
    """

    evidence: Evidence
    standing: Standing
    text: str
    numbers: str = ""
    seeds: tuple[int, int] = (0, 0)
    origin: str = ""
    command: str = ""
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, its verdict and the findings behind it; first looks never decide."""

    claim: Claim
    standing: Standing
    findings: tuple[Finding, ...]
    first_look: tuple[Finding, ...] = ()

    @property
    def commands(self) -> list[str]:
        """What to run to decide it; empty where it is decided."""
        if self.standing in (Standing.supported, Standing.refuted):
            return []
        return list(dict.fromkeys(finding.command for finding in self.findings if finding.command))


def read_evidence(
    sweeps_dir: Path, root: Path, results: Path | None = None, claims: Sequence[Claim] = CLAIMS
) -> dict[str, list[Analysis]]:
    """The runs of every sweep that a claim names, the full sweep before the presets that have
    run, and those before committed results; sweeps without a file are absent.

    Args:
        sweeps_dir: folder of the sweep files.
        root: folder of all runs.
        results: folder of committed results, where runs need not be there any more.
        claims: the claims.
    """
    kept = [read_values(path) | {"path": path} for path in results_files(results).values()] if results else []
    names = {item.sweep for claim in claims for item in (*claim.evidence, *claim.first_look)}
    found: dict[str, list[Analysis]] = {}
    for name in sorted(names):
        if not (sweeps_dir / f"{name}.yaml").is_file():
            continue
        presets = list(map(str, read_file(find_file(name, sweeps_dir)).get("presets") or {}))
        run = [preset for preset in presets if (root / f"{name}-{preset}").is_dir()]
        designs = [load_sweep(name, sweeps_dir, preset) for preset in (None, *run)]
        committed = [
            _committed(values["path"], load_sweep(name, sweeps_dir, values["preset"]), values["overrides"])
            for values in kept
            if values["sweep"] == name and values["preset"] in (None, *presets)
        ]
        found[name] = [*(_study(design, root) for design in designs), *committed]
    return found


def _committed(path: Path, sweep: Sweep, overrides: Sequence[str]) -> Analysis:
    """Committed results without the runs of arms that the sweep file has changed since."""
    ablation = read_results_file(path)
    now = arm_hashes(sweep, overrides)
    arms = {
        name: runs if runs.hash == now.get(name) else replace(runs, planned=[], conflicting=runs.planned)
        for name, runs in ablation.arms.items()
    }
    return analyse(replace(ablation, arms=arms))


def arm_hashes(sweep: Sweep, overrides: Sequence[str] = ()) -> dict[str, str]:
    """The identity that each arm of a sweep file has now: runs of any other are of another design."""
    configs = compose_many([(*sweep.overrides(arm), f"run.arm={arm}", *overrides) for arm in sweep.arms])
    return {arm: run_hash(cfg) for arm, cfg in zip(sweep.arms, configs, strict=True)}


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
    looks: tuple[Finding, ...] = ()
    if standing is Standing.not_run:
        looks = tuple(weigh(item, analyses.get(item.sweep)) for item in claim.first_look)
        looks = tuple(look for look in looks if look.standing is not Standing.not_run)
    return JudgedClaim(claim, standing, findings, looks)


def weigh(item: Evidence, analyses: Sequence[Analysis] | None) -> Finding:
    """One piece of evidence, from the full sweep or the preset of it with the most finished seeds."""
    finding = Finding(item, Standing.not_run, "", command=f"capsbench sweep {shlex.quote(item.sweep)}")
    if not analyses:
        return replace(finding, text=f"there is no sweep file {item.sweep}.yaml")
    absent = [arm for arm in dict.fromkeys((item.a, item.b)) if arm not in analyses[0].ablation.arms]
    if absent:
        return replace(finding, text=f"{item.sweep}.yaml has no arm {' and no arm '.join(absent)}")
    finding = replace(finding, caveats=tuple(_left_out(item, analyses)))
    best = max(analyses, key=lambda analysis: min(_seeds(item, analysis)))
    seeds = _seeds(item, best)
    if not min(seeds):
        return replace(finding, text="no finished runs of both arms have what is measured", seeds=seeds)
    both = [run for name in dict.fromkeys((item.a, item.b)) for run in best.ablation.arms[name].done]
    caveats = (*finding.caveats, *mixtures(both))
    finding = replace(finding, seeds=seeds, origin=best.ablation.sweep.group, caveats=caveats)
    if item.metric in ERRORS and item.kind in (Kind.fewer_errors, Kind.more_errors, Kind.same_errors):
        finding = _by_image(finding, best)
    elif item.kind is Kind.below:
        finding = _against_bound(finding, best)
    elif item.kind in (Kind.less, Kind.more):
        finding = _by_seed(finding, best)
    else:
        raise CapsbenchError(f"{item.kind} needs {' or '.join(ERRORS)}, not {item.metric}")
    if min(seeds) < MIN_SEEDS and finding.standing is not Standing.not_run:
        return replace(
            finding,
            standing=Standing.undecided,
            text=f"{finding.text} {min(seeds)} of at least {MIN_SEEDS} seeds: too few to decide.",
        )
    if finding.standing is Standing.undecided and best is analyses[0] and min(seeds) >= len(best.ablation.sweep.seeds):
        hint = f"All {min(seeds)} planned seeds have run; more seeds in {item.sweep}.yaml may decide it."
        return replace(finding, text=f"{finding.text} {hint}")
    return finding


def _by_image(finding: Finding, analysis: Analysis) -> Finding:
    item, ablation = finding.evidence, analysis.ablation
    pair = _comparison(item, analysis)
    if pair.paired is None:
        return replace(finding, standing=Standing.not_run, text=f"cannot be compared: {pair.missing}.")
    said = sentence(pair, ablation)
    if item.kind is Kind.same_errors:
        margin = f"{100 * item.bound:g} %"
        inside = max(abs(pair.paired.low), abs(pair.paired.high)) < item.bound
        outside = pair.paired.low > item.bound or pair.paired.high < -item.bound
        verdict = Standing.supported if inside else Standing.refuted if outside else Standing.undecided
        words = {
            Standing.supported: f"The whole 95 % interval lies within the margin of {margin}.",
            Standing.refuted: f"They differ by more: {images_in_10_000(pair.paired)} images in 10,000.",
            Standing.undecided: f"The 95 % interval is not yet within or outside the margin of {margin}.",
        }
        return replace(finding, standing=verdict, text=words[verdict], numbers=said.numbers)
    loser = item.a if item.kind is Kind.fewer_errors else item.b
    if said.verdict is not Verdict.worse:
        verdict = Standing.undecided
    else:
        verdict = Standing.supported if said.worse == loser else Standing.refuted
    unstable = pair.two_way is not None and pair.two_way[0] <= 0 <= pair.two_way[1]
    # The interval that also draws new seeds is the honest one where training is unstable.
    return replace(
        finding,
        standing=Standing.undecided if unstable else verdict,
        text=said.text,
        numbers=said.numbers,
    )


def _comparison(item: Evidence, analysis: Analysis) -> Comparison:
    """The sweep's own declared comparison of the two arms, corrected by Holm; else one of this table's own."""
    sweep = analysis.ablation.sweep
    if item.metric == sweep.metric:
        for pair in analysis.declared:
            if {pair.a, pair.b} == {item.a, item.b}:
                return pair
    checkpoint = sweep.checkpoint if item.metric == "test/errors" else "last"
    return compare(analysis.ablation, item.a, item.b, item.metric, checkpoint, declared=False)


def _by_seed(finding: Finding, analysis: Analysis) -> Finding:
    """Mann-Whitney's exact test over seeds, and the probability of improvement with its mark at 0.75."""
    from scipy.stats import mannwhitneyu

    item, arms = finding.evidence, analysis.ablation.arms
    values_a, values_b = (_values(arms[name], item.metric) for name in (item.a, item.b))
    if not (np.isfinite(values_a).any() or np.isfinite(values_b).any()):
        return replace(finding, standing=Standing.undecided, text=f"No run of either arm has {item.metric}.")
    wins = np.subtract.outer(values_b, values_a) if item.kind is Kind.more else np.subtract.outer(values_a, values_b)
    # inf - inf: neither ever got there.
    wins = np.nan_to_num(wins, nan=0.0)
    chance = float(np.mean(wins > 0) + 0.5 * np.mean(wins == 0))
    p = float(mannwhitneyu(values_a, values_b, alternative="two-sided").pvalue)
    verdict = Standing.undecided
    if p <= ALPHA and max(chance, 1 - chance) >= BETTER_MARK:
        verdict = Standing.supported if chance > 0.5 else Standing.refuted
    label_a, label_b = arms[item.a].arm.label, arms[item.b].arm.label
    direction = "more" if item.kind is Kind.more else "less"
    text = f"Median {item.metric}: {label_a} {_number(values_a)}, {label_b} {_number(values_b)}."
    numbers = f"P({label_b} has {direction}) = {chance:.2f}, Mann-Whitney over seeds {p_text(p)}"
    return replace(finding, standing=verdict, text=text, numbers=numbers)


def _against_bound(finding: Finding, analysis: Analysis) -> Finding:
    item, runs = finding.evidence, analysis.ablation.arms[finding.evidence.b]
    found = summarize(_values(runs, item.metric))
    verdict = Standing.undecided
    if not math.isnan(found.low):
        if found.high < item.bound:
            verdict = Standing.supported
        elif found.low > item.bound:
            verdict = Standing.refuted
    text = f"{runs.arm.label}: mean {item.metric} {found.mean:.3g}; the bound is {item.bound:g}."
    interval = "" if math.isnan(found.low) else f"95 % t-interval over seeds [{found.low:.3g}, {found.high:.3g}]"
    return replace(finding, standing=verdict, text=text, numbers=interval)


def _seeds(item: Evidence, analysis: Analysis) -> tuple[int, int]:
    """Finished seeds of A and B that have what is measured."""
    arms, checkpoint = analysis.ablation.arms, analysis.ablation.sweep.checkpoint
    if item.a not in arms or item.b not in arms:  # a preset may leave arms out
        return 0, 0
    if item.metric in ERRORS:
        runs = [comparable_runs(arms[name], item.metric, checkpoint) for name in (item.a, item.b)]
        return len(runs[0]), len(runs[1])
    return _values(arms[item.a], item.metric).size, _values(arms[item.b], item.metric).size


def _values(runs: ArmRuns, metric: str) -> Float[np.ndarray, "seeds"]:
    if metric != NEVER_IS_LONGEST:
        return runs.values(metric)
    return np.array([run.metrics.get(metric, math.inf) for run in runs.done], dtype=np.float64)


def _number(values: Float[np.ndarray, "seeds"]) -> str:
    middle = float(np.median(values))
    return f"{middle:.3g}" if math.isfinite(middle) else "never reached"


def _study(sweep: Sweep, root: Path) -> Analysis:
    folders = find_runs(root, sweep.group)
    return analyse(collect(sweep, folders, arm_hashes(sweep) if folders else None))


def _left_out(item: Evidence, analyses: Sequence[Analysis]) -> list[str]:
    """Runs under the arms' names that are of another configuration than the sweep file's, and not counted."""
    found = []
    for analysis in analyses:
        for name in dict.fromkeys((item.a, item.b)):
            arm = analysis.ablation.arms.get(name)
            if arm is not None and arm.conflicting:
                digits = ", ".join(sorted({run.hash for run in arm.conflicting}))
                found.append(
                    f"{len(arm.conflicting)} runs of {arm.arm.label} in {analysis.ablation.sweep.group} are of another "
                    f"configuration ({digits}) than the sweep file's ({arm.hash}) and do not count"
                )
    return found
