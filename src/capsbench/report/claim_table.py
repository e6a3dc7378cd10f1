"""What people say about capsules, and for each claim the test, the sweep and the arms that decide it.

Written down before anything runs. A claim is supported only where all of its evidence is. Arm A is the one that the
claim is against (a CNN, one iteration, no reconstruction), arm B the one that it is for.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What must be true of the arms."""

    fewer_errors = "B makes fewer errors than A"
    more_errors = "B makes more errors than A"
    same_errors = "A and B differ by less than the margin"
    less = "B has less of the metric than A"
    more = "B has more of the metric than A"
    below = "B's metric lies below the bound"


@dataclass(frozen=True)
class Evidence:
    """One test of a claim.

    Attributes:
        sweep: name of the sweep file whose runs are read; runs of its presets count where they have more seeds.
        a: arm that the claim is against; the same as `b` where one arm is held against a bound.
        b: arm that the claim is for.
        metric: `test/errors` and `affine/errors` are compared image by image, any other metric seed by seed.
        bound: margin in error rate of `same_errors`, or bound of `below`.
        instead: the metric that is compared where no run of either arm has `metric`.
    """

    sweep: str
    a: str
    b: str
    kind: Kind
    metric: str = "test/errors"
    bound: float = 0.0
    instead: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence people say, and how it is put to the test.

    Attributes:
        name: short and fixed: an anchor on the page.
        statement: the claim.
        source: who makes it.
        test: the test in words.
        evidence: what decides it; all of it must hold.
        first_look: what the sweep `quick` has to say; shown while nothing better has run, decides nothing.
        also: what is worth seeing beside the evidence; decides nothing.
    """

    name: str
    statement: str
    source: str
    test: str
    evidence: tuple[Evidence, ...]
    first_look: tuple[Evidence, ...] = ()
    also: tuple[Evidence, ...] = ()


HINTON = "Hinton, in talks and posts from 2014 on"
SABOUR = "Sabour, Frosst, Hinton 2017"
AFFINE = "affine/errors"
TO_TARGET, EPOCH = "time/seconds_to_target", "time/seconds_per_epoch"
# What the metrics are called on the page.
NAMES = {
    "test/errors": "test error",
    AFFINE: "error on affNIST-like images",
    TO_TARGET: "seconds to the target validation accuracy",
    EPOCH: "seconds an epoch (median of a run's epochs)",
    "pose/mean_r2": "mean R² of the pose probes",
    "parts/grid4_claimed": "share of 4 × 4 rearranged digits claimed",
    "routing/coupling_entropy": "coupling entropy (1: uniform)",
}

CLAIMS = (
    Claim(
        "pooling",
        "Max pooling throws away where things are.",
        HINTON,
        "Two CNNs of equal size, one with max pooling and one that strides instead: the pooled one makes more errors "
        "under affine changes that neither was trained on.",
        (Evidence("pooling", "cnn_strided", "cnn_max", Kind.more_errors, AFFINE),),
        (Evidence("quick", "cnn_no_pool", "cnn_max_pool", Kind.more_errors, AFFINE),),
    ),
    Claim(
        "pose",
        "Capsules keep position, size and orientation.",
        SABOUR,
        "Linear probes read rotation, scale, shear and translation better (mean R2) from class-capsule poses than from "
        "a CNN's features of equal size.",
        (Evidence("parts", "cnn_max_pool", "capsnet_r3_recon", Kind.more, "pose/mean_r2"),),
    ),
    Claim(
        "parts",
        "Rearranged parts do not fool capsules.",
        HINTON,
        "Of digits cut into 4 x 4 parts and rearranged, CapsNet claims the original class for a smaller share than "
        "the CNN.",
        (Evidence("parts", "cnn_max_pool", "capsnet_r3_recon", Kind.less, "parts/grid4_claimed"),),
    ),
    Claim(
        "agreement",
        "Routing by agreement concentrates coupling on the right parent.",
        SABOUR,
        "Coupling entropy after the last iteration is below 95 % of uniform coupling's.",
        (Evidence("iterations", "r3", "r3", Kind.below, "routing/coupling_entropy", 0.95),),
        (Evidence("quick", "capsnet_r3", "capsnet_r3", Kind.below, "routing/coupling_entropy", 0.95),),
    ),
    Claim(
        "reconstruction",
        "Reconstruction helps.",
        SABOUR,
        "CapsNet with the decoder makes fewer test errors than without, full-size with three iterations and small with "
        "the same loss.",
        (
            Evidence("table1", "capsnet_r3", "capsnet_r3_recon", Kind.fewer_errors),
            Evidence("reconstruction", "off_official", "official", Kind.fewer_errors),
        ),
        (Evidence("quick", "capsnet_r3", "capsnet_r3_recon", Kind.fewer_errors),),
    ),
    Claim(
        "iterations",
        "More routing iterations help.",
        SABOUR,
        "With reconstruction, CapsNet has fewer test errors with three iterations than with one, full size and small.",
        (
            Evidence("table1", "capsnet_r1_recon", "capsnet_r3_recon", Kind.fewer_errors),
            Evidence("iterations", "r1", "r3", Kind.fewer_errors),
        ),
        (Evidence("quick", "capsnet_r1_recon", "capsnet_r3_recon", Kind.fewer_errors),),
    ),
    Claim(
        "affine",
        "Capsules are robust to affine changes.",
        SABOUR,
        "Of affNIST-like digits, CapsNet gets fewer wrong than two CNNs trained the same way: one of equal size with "
        "max pooling, and one with large kernels and global average pooling (Gu et al. 2021).",
        (
            Evidence("affine", "cnn_max_pool", "capsnet_r3", Kind.fewer_errors, AFFINE),
            Evidence("affine", "cnn_average_9x9", "capsnet_r3", Kind.fewer_errors, AFFINE),
        ),
        (Evidence("quick", "cnn_max_pool", "capsnet_r3_recon", Kind.fewer_errors, AFFINE),),
    ),
    Claim(
        "data",
        "Capsules need less data.",
        HINTON,
        "Trained on 100 images of each class for as many steps, CapsNet makes fewer test errors than the CNN.",
        (Evidence("data_efficiency", "cnn_100", "capsnet_100", Kind.fewer_errors),),
    ),
    Claim(
        "speed",
        "Capsules train faster.",
        "posts that take fewer epochs for less time",
        "CapsNet reaches 99 % validation accuracy in fewer seconds of training than a CNN with max pooling, and than "
        "one with CapsNet's own convolutions, on one machine; where no run gets there, its epochs take fewer seconds "
        "(median of each run's epochs).",
        (
            Evidence("speed", "cnn_max_pool", "capsnet_r3_recon", Kind.less, TO_TARGET, instead=EPOCH),
            Evidence("speed", "cnn_same_stem", "capsnet_r3_recon", Kind.less, TO_TARGET, instead=EPOCH),
        ),
        (Evidence("quick", "cnn_max_pool", "capsnet_r3_recon", Kind.less, TO_TARGET, instead=EPOCH),),
        (
            Evidence("table1", "cnn_same_stem", "capsnet_r3_recon", Kind.less, EPOCH),
            Evidence("table1", "baseline", "capsnet_r3_recon", Kind.less, EPOCH),
            Evidence("parts", "cnn_max_pool", "capsnet_r3_recon", Kind.less, EPOCH),
        ),
    ),
    Claim(
        "mnist",
        "Capsules are best on MNIST.",
        SABOUR,
        "CapsNet with three iterations and reconstruction makes fewer test errors than the paper's CNN, and than a CNN "
        "with its own two convolutions: the best is better than each.",
        (
            Evidence("table1", "baseline", "capsnet_r3_recon", Kind.fewer_errors),
            Evidence("table1", "cnn_same_stem", "capsnet_r3_recon", Kind.fewer_errors),
        ),
        (Evidence("quick", "cnn_max_pool", "capsnet_r3_recon", Kind.fewer_errors),),
    ),
    Claim(
        "complexity",
        "Capsules are worse on complex images.",
        "Xi, Bing, Jin 2017, and many after them",
        "On CIFAR-10, CapsNet makes more test errors than a CNN of equal size. Beside it, the same two networks on "
        "MNIST and Fashion-MNIST.",
        (Evidence("complexity", "cifar10_cnn", "cifar10_capsnet", Kind.more_errors),),
        (),
        (
            Evidence("complexity", "mnist_cnn", "mnist_capsnet", Kind.more_errors),
            Evidence("complexity", "fashion_cnn", "fashion_capsnet", Kind.more_errors),
        ),
    ),
    Claim(
        "backpropagation",
        "Routing replaces back-propagation for the coupling coefficients only.",
        f"{SABOUR}, whose weights are all learnt by back-propagation",
        "Cutting the gradient through the routing iterations changes the test error by less than 0.1 %: the "
        "coefficients need none, while all else is still trained by it.",
        (Evidence("iterations", "r3", "r3_detach", Kind.same_errors, bound=0.001),),
    ),
)
