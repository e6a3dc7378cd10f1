"""The keys of `evaluation`: what is measured after training, one dataclass per question that can be switched on.

Nothing here changes the training, so nothing here is part of a run's identity.
"""

from dataclasses import dataclass, field

from capsbench.config_models import key


@dataclass
class Affine:
    """Affine robustness: an affNIST-like test set and curves over one factor at a time."""

    enabled: bool = key(True, "evaluate affine robustness", identity=False)
    images: int | None = key(
        None, "test images that are transformed for the affNIST-like set; null: all", identity=False
    )
    variants: int = key(1, "random transformations per image (affNIST has 32)", identity=False)
    curve_images: int = key(1000, "test images behind each point of the curves", identity=False)
    seed: int = key(0, "seed of the transformations, the same for every run", identity=False)


@dataclass
class Matched:
    """Out-of-distribution accuracy at equal in-distribution accuracy, watched while training; selects nothing."""

    enabled: bool | None = key(None, "follow affNIST-like validation images; null: when data.pad > 0", identity=False)
    accuracy: float = key(0.992, "validation accuracy at which models are compared", identity=False)
    images: int = key(1000, "validation images that are transformed after every epoch", identity=False)


@dataclass
class Pose:
    """Linear probes from the class capsule's pose to how the digit was transformed and how thick its stroke is."""

    enabled: bool = key(False, "fit the pose probes", identity=False)
    images: int | None = key(2000, "test images the probes are cross-validated on; null: all", identity=False)
    folds: int = key(5, "parts of the cross-validation", identity=False)
    dimensions: int = key(16, "numbers per image the probe sees; longer features are reduced by PCA", identity=False)
    seed: int = key(0, "seed of the transformations, the same for every run", identity=False)


@dataclass
class Parts:
    """Images whose parts are in the wrong places: is the original class still claimed?"""

    enabled: bool = key(False, "evaluate rearranged images", identity=False)
    images: int | None = key(1000, "test images that are rearranged; null: all", identity=False)
    grids: list[int] = key([2, 4, 7], "cut the image into this many rows and columns of parts", identity=False)
    accepted: float = key(0.95, "share of clean validation images above the threshold of 'none'", identity=False)
    seed: int = key(0, "seed of the rearrangements, the same for every run", identity=False)


@dataclass
class Corruption:
    """Fifteen corruptions as MNIST-C has them, and curves over far translation and rotation."""

    enabled: bool = key(False, "evaluate corrupted images", identity=False)
    images: int | None = key(1000, "test images that are corrupted; null: all", identity=False)
    severities: list[int] = key([1, 2, 3, 4, 5], "severities, 1 to 5", identity=False)
    seed: int = key(0, "seed of the corruptions, the same for every run", identity=False)


@dataclass
class Adversarial:
    """Attacks that may move every pixel by at most epsilon: with gradients, and with decisions alone."""

    enabled: bool = key(False, "attack the model", identity=False)
    images: int | None = key(500, "test images that are attacked, right or wrong; null: all", identity=False)
    epsilons: list[float] = key(
        [0.02, 0.05, 0.1, 0.15, 0.2, 0.3], "largest changes of a pixel, out of 1", identity=False
    )
    steps: int = key(40, "gradient steps of one PGD attack", identity=False)
    restarts: int = key(3, "PGD attacks from different random starts", identity=False)
    decision_images: int = key(100, "of these images attacked by decisions alone; 0: none", identity=False)
    decision_queries: int = key(1000, "predictions that the decision attack may ask for of each image", identity=False)
    seed: int = key(0, "seed of images and random starts, the same for every run", identity=False)


@dataclass
class Overlap:
    """MultiMNIST: two digits of different classes, one over the other."""

    enabled: bool = key(False, "evaluate overlapping digits", identity=False)
    each: int = key(1, "pairs for every test image (Sabour et al. 2017: 1000)", identity=False)
    shift: int = key(4, "largest shift of each digit in pixels", identity=False)
    seed: int = key(0, "seed of the pairs, the same for every run", identity=False)


@dataclass
class Evaluation:
    """What is measured after training. It never changes the training, so it is not part of a run's identity."""

    affine: Affine = field(default_factory=Affine)
    matched: Matched = field(default_factory=Matched)
    pose: Pose = field(default_factory=Pose)
    parts: Parts = field(default_factory=Parts)
    corruption: Corruption = field(default_factory=Corruption)
    adversarial: Adversarial = field(default_factory=Adversarial)
    overlap: Overlap = field(default_factory=Overlap)
    routing_images: int = key(1000, "test images behind the routing-health figures; 0: none", identity=False)
    reconstructions: int = key(10, "test images kept with their reconstruction; 0: none", identity=False)
    perturbations: int = key(
        3, "test images rebuilt with each dimension of their class capsule moved in turn; 0: none", identity=False
    )
    target_accuracy: float = key(0.99, "validation accuracy whose time-to-reach is reported", identity=False)
