"""What one piece of evidence says of a claim: the arms compared, in words, with the size of the effect and a verdict.

Errors are compared image by image, as everywhere; other metrics seed by seed. A finding is supported or refuted at 5 %
only where at least `MIN_SEEDS` seeds per arm have finished. Pairs that the sweep declares take their p-value after Holm
over that sweep's comparisons. Whatever is not decided either way is undecided.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from capsbench.errors import CapsbenchError
from capsbench.report.analysis import Analysis, Comparison, comparable_runs, compare
from capsbench.report.claim_table import AFFINE, NAMES, Evidence, Kind
from capsbench.report.collect import ArmRuns
from capsbench.report.concerns import mixtures
from capsbench.report.effect import Effect, Scale
from capsbench.report.setting import setting
from capsbench.report.statistics.difference import ratio_interval, welch_interval
from capsbench.report.statistics.intervals import summarize
from capsbench.report.statistics.seeds import BETTER_MARK
from capsbench.report.verdicts import ALPHA, Verdict, images_in_10_000, p_text, sentence

MIN_SEEDS = 3
ERRORS = ("test/errors", AFFINE)
# A run that never got there took longer than all that did.
NEVER_IS_LONGEST = "time/seconds_to_target"
# Times differ by factors, everything else by differences.
TIMES = "time/"


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
        effect: how large the difference is; None without runs.
        setting: data, budget, sizes and machine behind it.
        seeds: finished seeds of A and B.
        caveats: what weakens it: runs that are left out, mixed commits and machines.
        origin: sweep, and preset, that the runs belong to; empty without runs.
        command: what would decide it.
    """

    evidence: Evidence
    standing: Standing
    text: str
    numbers: str = ""
    effect: Effect | None = None
    setting: str = ""
    seeds: tuple[int, int] = (0, 0)
    origin: str = ""
    command: str = ""
    caveats: tuple[str, ...] = ()


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
    if item.instead and not _measured(item, best):
        return weigh(replace(item, metric=item.instead, instead=""), analyses)
    if not min(seeds):
        return replace(finding, text="no finished runs of both arms have what is measured", seeds=seeds)
    arms = [best.ablation.arms[name] for name in dict.fromkeys((item.a, item.b))]
    caveats = (*finding.caveats, *mixtures([run for runs in arms for run in runs.done]))
    finding = replace(finding, seeds=seeds, origin=best.ablation.sweep.group, setting=setting(arms), caveats=caveats)
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
    finding = replace(finding, effect=_points(pair, item, ablation.arms))
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


def _points(pair: Comparison, item: Evidence, arms: dict[str, ArmRuns]) -> Effect | None:
    """The claim's own difference, B less A, whichever way round the sweep declares the pair."""
    if pair.paired is None:
        return None
    sign = 100 if (pair.a, pair.b) == (item.a, item.b) else -100
    low, high = sorted((sign * pair.paired.low, sign * pair.paired.high))
    return Effect(_what(item, arms), Scale.points, sign * pair.paired.delta, low, high, 0)


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
    """Welch's interval over seeds and the probability of improvement with its mark at 0.75.

    Runs that never got there have no number: then the exact rank test decides, which needs four seeds an arm.
    """
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
    effect = _effect(item, arms, values_a, values_b)
    decided = p <= ALPHA if math.isnan(effect.low) else not effect.low <= effect.neutral <= effect.high
    verdict = Standing.undecided
    if decided and max(chance, 1 - chance) >= BETTER_MARK:
        verdict = Standing.supported if chance > 0.5 else Standing.refuted
    label_a, label_b = arms[item.a].arm.label, arms[item.b].arm.label
    name = NAMES.get(item.metric, item.metric)
    text = f"{name[0].upper()}{name[1:]}, median: {label_a} {_number(values_a)}, {label_b} {_number(values_b)}."
    direction = "more" if item.kind is Kind.more else "less"
    numbers = f"P({label_b} has {direction}) = {chance:.2f}, Mann-Whitney over seeds {p_text(p)}"
    return replace(finding, standing=verdict, text=text, numbers=numbers, effect=effect)


def _effect(
    item: Evidence, arms: dict[str, ArmRuns], values_a: Float[np.ndarray, "a"], values_b: Float[np.ndarray, "b"]
) -> Effect:
    what = _what(item, arms)
    if not (np.isfinite(values_a).all() and np.isfinite(values_b).all()):
        return Effect(what, Scale.times, math.nan, math.nan, math.nan, 1)
    if item.metric.startswith(TIMES):
        ratio = math.exp(float(np.log(values_b).mean() - np.log(values_a).mean()))
        return Effect(what, Scale.times, ratio, *ratio_interval(values_a, values_b), 1)
    difference = float(values_b.mean() - values_a.mean())
    return Effect(what, Scale.difference, difference, *welch_interval(values_a, values_b), 0)


def _against_bound(finding: Finding, analysis: Analysis) -> Finding:
    item, runs = finding.evidence, analysis.ablation.arms[finding.evidence.b]
    found = summarize(_values(runs, item.metric))
    verdict = Standing.undecided
    if not math.isnan(found.low):
        if found.high < item.bound:
            verdict = Standing.supported
        elif found.low > item.bound:
            verdict = Standing.refuted
    name = NAMES.get(item.metric, item.metric)
    text = f"{runs.arm.label}: mean {name} {found.mean:.3g}; the bound is {item.bound:g}."
    interval = "" if math.isnan(found.low) else f"95 % t-interval over seeds [{found.low:.3g}, {found.high:.3g}]"
    effect = Effect(f"{name}, {runs.arm.label}", Scale.level, found.mean, found.low, found.high, item.bound)
    return replace(finding, standing=verdict, text=text, numbers=interval, effect=effect)


def _what(item: Evidence, arms: dict[str, ArmRuns]) -> str:
    sign = "÷" if item.metric.startswith(TIMES) else "−"
    return f"{NAMES.get(item.metric, item.metric)}, {arms[item.b].arm.label} {sign} {arms[item.a].arm.label}"


def _seeds(item: Evidence, analysis: Analysis) -> tuple[int, int]:
    """Finished seeds of A and B that have what is measured."""
    arms, checkpoint = analysis.ablation.arms, analysis.ablation.sweep.checkpoint
    if item.a not in arms or item.b not in arms:  # a preset may leave arms out
        return 0, 0
    if item.metric in ERRORS:
        runs = [comparable_runs(arms[name], item.metric, checkpoint) for name in (item.a, item.b)]
        return len(runs[0]), len(runs[1])
    return _values(arms[item.a], item.metric).size, _values(arms[item.b], item.metric).size


def _measured(item: Evidence, analysis: Analysis) -> bool:
    """Whether a run of either arm has the metric itself, not only its absence."""
    arms = analysis.ablation.arms
    return any(item.metric in run.metrics for name in (item.a, item.b) if name in arms for run in arms[name].done)


def _values(runs: ArmRuns, metric: str) -> Float[np.ndarray, "seeds"]:
    if metric != NEVER_IS_LONGEST:
        return runs.values(metric)
    return np.array([run.metrics.get(metric, math.inf) for run in runs.done], dtype=np.float64)


def _number(values: Float[np.ndarray, "seeds"]) -> str:
    middle = float(np.median(values))
    return f"{middle:.3g}" if math.isfinite(middle) else "never reached"


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
