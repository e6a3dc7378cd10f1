"""The sentence under each comparison, written by fixed rules so that no report can say more than its numbers.

"Worse" is said only where the image-paired 95 % interval excludes 0 and the p-value holds after Holm; anything else is
"no difference detected" with the difference that could have been seen (2.8 standard errors, 80 % power).
"""

from dataclasses import dataclass
from enum import StrEnum

from capsbench.report.analysis import Comparison
from capsbench.report.collect import AFFINE, Ablation
from capsbench.report.statistics.paired import Paired
from capsbench.report.statistics.seeds import BETTER_MARK, Canary, SeedSpread

ALPHA = 0.05
SEED_FLOOR = 5


class Verdict(StrEnum):
    """What a declared comparison may be said to show."""

    worse = "worse"
    none = "no difference detected"
    unknown = "not comparable yet"


@dataclass(frozen=True)
class Sentence:
    """A verdict in words.

    Attributes:
        verdict: its kind.
        worse: name of the arm with more errors, where the verdict is `worse`.
        text: the sentence.
        numbers: the statistics behind it, in one line.
        caveats: what weakens it.
    """

    verdict: Verdict
    worse: str | None
    text: str
    numbers: str = ""
    caveats: tuple[str, ...] = ()


def sentence(pair: Comparison, ablation: Ablation) -> Sentence:
    """Put one comparison into words, by the reference's rules."""
    label_a, label_b = (ablation.arms[name].arm.label for name in (pair.a, pair.b))
    if pair.paired is None:
        return Sentence(Verdict.unknown, None, f"{label_a} and {label_b} cannot be compared yet: {pair.missing}.")
    verdict = judge(pair)
    numbers, caveats = _numbers(pair, label_a, label_b), tuple(_caveats(pair, ablation))
    if verdict is Verdict.worse:
        worse, better = (label_b, label_a) if pair.paired.delta > 0 else (label_a, label_b)
        name = pair.b if pair.paired.delta > 0 else pair.a
        text = f"{worse} is worse than {better}, by {images_in_10_000(pair.paired)} images in 10,000."
        if pair.two_way and pair.two_way[0] <= 0 <= pair.two_way[1]:
            text += " But training is unstable: the interval that also draws new seeds includes 0."
        return Sentence(verdict, name, text, numbers, caveats)
    if pair.paired.differing == 0:
        text = f"No difference detected between {label_a} and {label_b}: they are wrong on exactly the same images."
    else:
        seen = f"{100 * pair.paired.smallest_detectable:.2g} %"
        text = f"No difference detected between {label_a} and {label_b}; could have seen {seen}."
    return Sentence(Verdict.none, None, text, numbers, caveats)


def judge(pair: Comparison) -> Verdict:
    """Whether a comparison may be called worse: interval without 0, and p below 5 % (after Holm where declared)."""
    if pair.paired is None:
        return Verdict.unknown
    p = pair.p_holm if pair.declared else pair.paired.p
    excludes_zero = pair.paired.low > 0 or pair.paired.high < 0
    return Verdict.worse if excludes_zero and p <= ALPHA else Verdict.none


def images_in_10_000(paired: Paired) -> str:
    """The interval of the size of a difference, as `3 to 15`; a decimal more where whole images would hide it."""
    ends = sorted((abs(10_000 * paired.low), abs(10_000 * paired.high)))
    for decimals in (0, 1, 2):
        low, high = (f"{end:,.{decimals}f}" for end in ends)
        if float(low.replace(",", "")) > 0 and low != high:
            return f"{low} to {high.removesuffix('.0')}"
    return f"{low} to {high}"


def _numbers(pair: Comparison, label_a: str, label_b: str) -> str:
    paired = pair.paired
    if paired is None:
        return ""
    holm = f" (Holm {p_text(pair.p_holm)})" if pair.declared else " (uncorrected)"
    parts = [
        f"B − A = {signed_percent(paired.delta)} %, SE {100 * paired.se:.3f} %, "
        f"95 % CI {percent_interval(paired.low, paired.high)} %, {p_text(paired.p)}{holm}",
        f"seeds {pair.seeds[0]} and {pair.seeds[1]}",
        f"permutation of error counts {p_text(pair.permutation_p)}",
        _better(pair, label_a, label_b),
    ]
    if pair.two_way:
        parts.append(f"two-way bootstrap (seeds × images) {percent_interval(*pair.two_way)} %")
    return "; ".join(parts)


def _better(pair: Comparison, label_a: str, label_b: str) -> str:
    chance = pair.probability_better
    label, chance = (label_a, chance) if chance >= 0.5 else (label_b, 1 - chance)
    return f"P({label} better) = {chance:.2f}, {'reaches' if chance >= BETTER_MARK else 'below'} the {BETTER_MARK} mark"


def signed_percent(rate: float) -> str:
    """A difference of error rates in percent, with its sign."""
    return f"{100 * rate:+.3f}".replace("-", "−")


def percent_interval(low: float, high: float) -> str:
    """An interval of a difference of error rates in percent."""
    return f"[{signed_percent(low)}, {signed_percent(high)}]"


def p_text(p: float) -> str:
    """A p-value as text; the sign-flip test cannot go below 1 / 10,001."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _caveats(pair: Comparison, ablation: Ablation) -> list[str]:
    found = []
    planned = len(ablation.sweep.seeds)
    if min(pair.seeds) < planned:
        found.append(f"{min(pair.seeds)} of {planned} planned seeds")
    if min(pair.seeds) < SEED_FLOOR:
        found.append(f"fewer than {SEED_FLOOR} seeds: too few to know how much of this is how training happened to go")
    for name, one in zip((pair.a, pair.b), pair.canaries or (), strict=False):
        remark = canary_remark(one, pair.metric)
        if remark:
            found.append(f"{ablation.arms[name].arm.label}: {remark}")
    if pair.declared and judge(pair) is Verdict.none and pair.paired and pair.paired.low * pair.paired.high > 0:
        found.append("the interval alone excludes 0, but not after Holm's correction")
    return found


def canary_remark(found: Canary, metric: str) -> str:
    """What a reader must know about the spread of an arm's seeds; empty where it is healthy or cannot be judged."""
    if found.verdict in (SeedSpread.healthy, SeedSpread.unknown):
        return ""
    meaning = {
        SeedSpread.alike: "the seeds may not really be different",
        SeedSpread.borderline: "outside the healthy range 0.7-1.4",
        SeedSpread.unstable: "robustness differs between seeds" if metric == AFFINE else "training is unstable",
    }[found.verdict]
    low, high = found.chance
    chance = f"; by chance alone 95 % of such ratios lie in {low:.2f}-{high:.2f}" if low <= found.ratio <= high else ""
    return f"seed sd is {found.ratio:.2f} of the predicted one ({meaning}{chance})"
