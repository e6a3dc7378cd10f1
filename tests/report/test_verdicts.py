"""The sentences say what the numbers allow, and no more."""

from dataclasses import replace

import numpy as np
import pytest

from capsbench.report.analysis import Comparison
from capsbench.report.collect import Ablation, ArmRuns
from capsbench.report.statistics.paired import Paired
from capsbench.report.statistics.seeds import canary
from capsbench.report.verdicts import Verdict, images_in_10_000, judge, p_text, sentence
from report.fake_runs import fake_sweep

HEALTHY = canary(np.array([20, 21, 22, 24, 25, 25, 26, 27, 29, 31]))


def ablation():
    sweep = fake_sweep()
    return Ablation(sweep, {name: ArmRuns(name, arm, "", []) for name, arm in sweep.arms.items()}, [])


def comparison(delta=0.00092, se=0.00031, p=0.003, holm=0.012, **changes):
    paired = Paired(delta, se, delta - 1.96 * se, delta + 1.96 * se, p, 10_000, 120)
    values = {
        "declared": True,
        "seeds": (10, 10),
        "paired": paired,
        "p_holm": holm,
        "permutation_p": 0.0004,
        "probability_better": 0.95,
        "canaries": (HEALTHY, HEALTHY),
    }
    return Comparison("capsnet_r3", "capsnet_r1", "test/errors", "last", **{**values, **changes})


def test_worked_example():
    said = sentence(comparison(), ablation())
    assert said.verdict is Verdict.worse
    assert said.worse == "capsnet_r1"
    assert said.text == "CapsNet, 1 iteration is worse than CapsNet, 3 iterations, by 3 to 15 images in 10,000."
    assert "95 % CI [+0.031, +0.153] %" in said.numbers
    assert "p = 0.003 (Holm p = 0.012)" in said.numbers
    assert "P(CapsNet, 3 iterations better) = 0.95, reaches the 0.75 mark" in said.numbers
    assert said.caveats == ()


def test_the_worse_arm_is_the_subject():
    said = sentence(comparison(delta=-0.00092), ablation())
    assert said.worse == "capsnet_r3"
    assert said.text == "CapsNet, 3 iterations is worse than CapsNet, 1 iteration, by 3 to 15 images in 10,000."


def test_probability_is_told_for_the_better_arm():
    said = sentence(comparison(delta=-0.00092, probability_better=0.1), ablation())
    assert "P(CapsNet, 1 iteration better) = 0.90, reaches the 0.75 mark" in said.numbers


def test_no_difference_says_what_could_have_been_seen():
    said = sentence(comparison(delta=0.0002, p=0.5, holm=1.0), ablation())
    assert said.verdict is Verdict.none
    assert said.worse is None
    assert (
        said.text
        == "No difference detected between CapsNet, 3 iterations and CapsNet, 1 iteration; could have seen 0.087 %."
    )


def test_worse_needs_both_the_interval_and_holm():
    assert judge(comparison(holm=0.2)) is Verdict.none
    assert judge(comparison(delta=0.0005, holm=0.01)) is Verdict.none
    assert judge(comparison(holm=0.05)) is Verdict.worse
    corrected_away = sentence(comparison(holm=0.2), ablation())
    assert "not after Holm's correction" in corrected_away.caveats[0]


def test_identical_errors():
    pair = comparison(delta=0.0, se=0.0, p=1.0, holm=1.0)
    said = sentence(replace(pair, paired=replace(pair.paired, differing=0)), ablation())
    assert said.text.endswith("they are wrong on exactly the same images.")


def test_missing_runs_are_not_a_verdict():
    pair = Comparison("capsnet_r3", "capsnet_r1", "test/errors", "last", True, missing="no finished run of X")
    said = sentence(pair, ablation())
    assert said.verdict is Verdict.unknown
    assert said.text == "CapsNet, 3 iterations and CapsNet, 1 iteration cannot be compared yet: no finished run of X."


def test_caveats_of_few_and_strange_seeds():
    alike = canary(np.full(10, 100))
    said = sentence(comparison(seeds=(10, 3), canaries=(alike, HEALTHY)), ablation())
    assert said.caveats[0] == "3 of 10 planned seeds"
    assert said.caveats[1].startswith("fewer than 5 seeds")
    assert said.caveats[2].startswith("CapsNet, 3 iterations: seed sd is 0.00 of the predicted one")
    two = canary(np.array([50, 51]))
    said = sentence(comparison(canaries=(two, HEALTHY)), ablation())
    assert "by chance alone 95 % of such ratios lie in 0.03-2.24" in said.caveats[0]


def test_unstable_training_weakens_a_difference():
    unstable = canary(np.array([5, 60, 8, 55, 30]))
    said = sentence(comparison(canaries=(HEALTHY, unstable), two_way=(-0.0004, 0.0022)), ablation())
    assert said.verdict is Verdict.worse
    assert "two-way bootstrap (seeds × images) [−0.040, +0.220] %" in said.numbers
    assert "training is unstable" in said.caveats[0]
    assert said.text.endswith("But training is unstable: the interval that also draws new seeds includes 0.")
    firm = sentence(comparison(canaries=(HEALTHY, unstable), two_way=(0.0002, 0.0022)), ablation())
    assert "unstable" not in firm.text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.00031, 0.00153, "3 to 15"),
        (-0.00153, -0.00031, "3 to 15"),
        (0.00002, 0.0008, "0.2 to 8"),
        (0.00114, 0.00122, "11 to 12"),
        (0.001171, 0.001174, "11.71 to 11.74"),
        (0.12, 0.2, "1,200 to 2,000"),
    ],
)
def test_images_in_10_000(low, high, text):
    assert images_in_10_000(Paired((low + high) / 2, 0.0, low, high, 0.01, 10_000, 5)) == text


def test_p_text():
    assert [p_text(p) for p in (0.0001, 0.0123, 0.5, 1.0)] == ["p < 0.001", "p = 0.012", "p = 0.50", "p = 1.00"]
