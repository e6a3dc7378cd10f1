"""What one run is: the typed schema behind every YAML file in `conf/`, and a run's identity.

Every key of every group is declared here with its default, its meaning and whether it can change the result of a
training run. Hydra composes the YAML files into these dataclasses, so an unknown key or a wrong type is refused before
anything starts. Model keys live in `config_models.py`, those of `evaluation` in `config_evaluation.py`.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import MISSING as DATACLASS_MISSING
from dataclasses import Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from capsbench.config_evaluation import Evaluation
from capsbench.config_models import MarginForm, gives_activations, ignored_keys, key, routing_of


class DatasetName(StrEnum):
    """Data sets that `data.name` can ask for."""

    mnist = "mnist"
    fashion_mnist = "fashion_mnist"
    kmnist = "kmnist"
    usps = "usps"
    cifar10 = "cifar10"
    svhn = "svhn"
    smallnorb = "smallnorb"
    affnist = "affnist"
    folder = "folder"


class Colour(StrEnum):
    """Channels of images out of a folder; `auto` is grey when no image has colour."""

    auto = "auto"
    grey = "grey"
    rgb = "rgb"


class Viewpoint(StrEnum):
    """Which viewpoints of smallNORB are trained on: all, or those that leave others to be novel."""

    all = "all"
    azimuth = "azimuth"
    elevation = "elevation"


class Split(StrEnum):
    """How validation images are taken out of the official training images."""

    random = "random"
    official = "official"
    instance = "instance"


class ClassLoss(StrEnum):
    """The classification part of the loss.

    `auto` is what suits the scores: cross-entropy for logits, margin for capsule lengths and other activations, and the
    paper's own loss for routing algorithms that do not learn from the margin loss (em: spread, self_routing: nll). With
    two classes in an image (data.overlap) cross-entropy is that of each class's own sigmoid, and spread and nll, which
    know one class only, give way to margin.
    """

    auto = "auto"
    margin = "margin"
    cross_entropy = "cross_entropy"
    spread = "spread"
    nll = "nll"


class OptimizerAlgorithm(StrEnum):
    """Adam (Kingma and Ba 2015) or stochastic gradient descent with momentum."""

    adam = "adam"
    sgd = "sgd"


class Schedule(StrEnum):
    """Learning-rate schedule over optimiser steps."""

    exponential = "exponential"
    staircase = "staircase"
    multistep = "multistep"
    cosine = "cosine"
    constant = "constant"


class WandbMode(StrEnum):
    """Whether W&B mirrors a run, and whether it may use the network."""

    disabled = "disabled"
    offline = "offline"
    online = "online"


@dataclass
class Run:
    """Where a run is kept and what it is called. Nothing here changes a result."""

    root: str = key("runs", "folder that holds all run folders", identity=False)
    group: str = key("train", "name of the sweep or experiment the run belongs to", identity=False)
    arm: str = key("${model.name}", "name of the arm: what a report calls this configuration", identity=False)
    notes: str = key("", "free text kept with the run", identity=False)


@dataclass
class Data:
    """Which images a run learns from, and how they are split and shifted."""

    name: DatasetName = key(DatasetName.mnist, "data set")
    root: str | None = key(None, "folder with the data set's own files; null means the bundled copy or CAPSBENCH_DATA")
    train_images: int | None = key(None, "use this many training images, class-balanced; null means all")
    validation_images: int = key(5000, "images taken out of the official training images for validation")
    validation_share: float | None = key(
        None, "validation images as this share of the training images instead; null: off"
    )
    split: Split = key(
        Split.random,
        "random: drawn with split_seed; official: the released code's first images; instance: all images of one "
        "training toy of each category (smallnorb), drawn with split_seed",
    )
    split_seed: int = key(0, "seed of the validation split and of the training subset; the same for every run")
    pad: int = key(0, "zero pixels added on every side (6 turns 28x28 into the 40x40 of the affNIST protocol)")
    shift: int = key(2, "largest random shift of a training image in pixels, in each direction, zero filled")
    size: int | None = key(
        None, "resize images to this height and width (a folder's: shorter side, middle); null: as is"
    )
    crop: int | None = key(
        None, "train on random windows of this height and width, test on the middle; null: whole images"
    )
    affine: float = key(
        0.0,
        "turn, shear and stretch training images, anew in every epoch, as a share of affNIST's ranges (1: up to 20 "
        "degrees, shear of 0.2, height and width times 0.8 to 1.2); 0: leave them as they are",
    )
    flip: bool = key(False, "mirror every second training image, drawn anew in every epoch")
    brightness: float = key(0.0, "add up to this many of 255 grey levels to a training image, or take them away")
    contrast: list[float] | None = key(None, "[lowest, highest] factor on a training image's contrast; null: none")
    standardize: bool = key(False, "give the network each image with mean 0 and variance 1, in training and tests")
    overlap: bool = key(
        False,
        "MultiMNIST: train and test on pairs of images of different classes, one over the other, both shifted; an "
        "answer is right when both classes are found",
    )
    partial: bool = key(False, "accept an incomplete published set (cifar10), and say so")
    viewpoint: Viewpoint = key(
        Viewpoint.all, "smallnorb: train on all viewpoints, or leave azimuths or elevations novel"
    )
    colour: Colour = key(Colour.auto, "folder: auto (grey when no image has colour), grey or rgb")
    test_share: float = key(
        0.2, "folder without a test part of its own: share of each class drawn for it by split_seed"
    )
    file_list: str | None = key(
        None, "folder: a CSV file with the columns path, split (train, test) and, if wished, class"
    )


@dataclass
class Loss:
    """What is minimised: a classification part and a weighted reconstruction part."""

    classification: ClassLoss = key(
        ClassLoss.auto,
        "auto, margin, cross_entropy, spread (Hinton 2018) or nll (of activations scaled to sum to one, Hahn 2019)",
    )
    margin_form: MarginForm = key(MarginForm.official, "paper: sum over classes; official: half the mean over classes")
    margin_positive: float = key(0.9, "m+ of the margin loss")
    margin_negative: float = key(0.1, "m- of the margin loss")
    margin_down_weight: float = key(0.5, "lambda: weight of absent classes in the margin loss")
    spread_start: float = key(0.2, "margin of the spread loss at step 0")
    spread_end: float = key(0.9, "margin of the spread loss at the last planned step; it grows linearly")
    reconstruction_weight: float = key(
        0.0005, "weight of the summed squared pixel error; models without a decoder have none"
    )


@dataclass
class Optimizer:
    """The optimiser, its learning-rate schedule in optimiser steps, and the average of weights that is evaluated."""

    algorithm: OptimizerAlgorithm = key(OptimizerAlgorithm.adam, "adam, or sgd (stochastic gradient descent)")
    lr: float = key(1e-3, "learning rate at step 0")
    beta1: float = key(0.9, "Adam's decay of the first moment")
    beta2: float = key(0.999, "Adam's decay of the second moment")
    eps: float = key(1e-8, "Adam's epsilon")
    momentum: float = key(0.9, "momentum of sgd")
    nesterov: bool = key(False, "Nesterov's momentum (sgd)")
    weight_decay: float = key(0.0, "L2 penalty added to the gradient")
    schedule: Schedule = key(
        Schedule.exponential,
        "exponential: lr * decay^(step / decay_steps); staircase: the same with the exponent rounded down; multistep: "
        "times decay at each of `drops`; cosine: half a cosine down to the floor; or constant",
    )
    decay: float = key(0.96, "factor of the exponential, staircase and multistep schedules")
    decay_steps: float | None = key(
        None,
        "steps per factor (released code: 2000) of the exponential and staircase schedules; null: planned steps / 150, "
        "so that a short run ends as the full one",
    )
    drops: list[float] = key([], "shares of the planned steps after which a multistep schedule drops")
    cooldown: float = key(
        0.0, "share of the planned steps at the end over which the rate also falls in a straight line to the floor"
    )
    floor: float = key(1e-6, "the learning rate never falls below this")
    clip_norm: float | None = key(None, "clip the gradient's global norm to this; null: no clipping")
    average_decay: float | None = key(
        None,
        "evaluate the exponential moving average of the weights with this decay a step (Byerly 2021: 0.999); null: the "
        "weights themselves",
    )


@dataclass
class Trainer:
    """How long, how fast and on what a run trains."""

    epochs: int = key(10, "passes over the training images")
    steps: int | None = key(None, "stop after this many optimiser steps instead of after `epochs`")
    validate_steps: int | None = key(
        None,
        "validate, and write checkpoints, after at least this many optimiser steps, rounded up to whole epochs (for "
        "epochs of a few steps, whose validation would take longer than they do); null: after every epoch",
    )
    batch_size: int = key(128, "images per optimiser step, over all devices together")
    eval_batch_size: int = key(100, "images per evaluation batch", identity=False)
    accelerator: str = key("auto", "auto, cpu, cuda (gpu)")
    devices: int = key(1, "number of devices")
    precision: str = key("auto", "auto, 32-true or bf16-mixed; auto takes bf16 where the hardware multiplies in it")
    compile: Any = key(
        "auto", "auto, true or false: compile the training step (auto: when it repays itself)", identity=False
    )
    deterministic: bool = key(False, "refuse operations without a deterministic implementation")
    threads: int | None = key(None, "CPU threads; null leaves PyTorch's choice", identity=False)
    log_every: int = key(50, "write training metrics every this many steps", identity=False)
    checkpoint_minutes: float = key(5.0, "write last.ckpt at least this often besides every epoch", identity=False)
    init_from: str | None = key(None, "checkpoint whose weights a fresh run starts from")
    limit_batches: int | None = key(None, "train and validate on this many batches per epoch only (debugging)")
    overfit_batches: int | None = key(None, "train on the same few batches again and again (debugging)")
    progress: bool = key(True, "show progress bars", identity=False)


@dataclass
class Logger:
    """Mirrors of a run beside its own metrics.csv and result.json."""

    wandb: WandbMode = key(WandbMode.offline, "disabled, offline or online", identity=False)
    project: str = key("capsbench", "W&B project", identity=False)
    entity: str | None = key(None, "W&B entity; null: your default", identity=False)


@dataclass
class Config:
    """One run."""

    seed: int = key(0, "seed of initialisation, data order and augmentation", identity=False)
    run: Run = field(default_factory=Run)
    data: Data = field(default_factory=Data)
    model: Any = MISSING
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    trainer: Trainer = field(default_factory=Trainer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    logger: Logger = field(default_factory=Logger)


def identity_values(cfg: Config) -> dict[str, Any]:
    """The keys of a configuration that can change the result of training and are not at their default.

    The seed is left out. So are defaults, which lets a later version add a key without making every old run another
    run, and keys that other keys leave without effect.
    """
    values = _changed_values(cfg)
    for name in [*_ignored_keys(cfg), *(f"model.{name}" for name in ignored_keys(cfg.model))]:
        _remove(values, name.split("."))
    return values


def _changed_values(cfg: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in fields(cfg):
        value = getattr(cfg, item.name)
        if is_dataclass(value) and not isinstance(value, type):
            inner = _changed_values(value)
            if item.name == "model":
                inner["family"] = type(value).__name__
            if inner:
                values[item.name] = inner
        elif item.metadata.get("identity", True) and value != _default(item):
            values[item.name] = value
    return values


def _ignored_keys(cfg: Config) -> Iterator[str]:
    """Keys of loss and optimiser, dotted, that have no effect beside the others."""
    loss = class_loss(cfg)
    if loss is not ClassLoss.margin:
        yield from (f"loss.margin_{name}" for name in ("positive", "negative", "down_weight"))
    if loss not in (ClassLoss.margin, ClassLoss.spread):
        yield "loss.margin_form"
    if loss is not ClassLoss.spread:
        yield from ("loss.spread_start", "loss.spread_end")
    if not getattr(cfg.model, "reconstruction", False):
        yield "loss.reconstruction_weight"
    if cfg.optimizer.schedule in (Schedule.cosine, Schedule.constant):
        yield from ("optimizer.decay", "optimizer.decay_steps")
    if cfg.optimizer.schedule is Schedule.multistep:
        yield "optimizer.decay_steps"


def _remove(values: dict[str, Any], path: list[str]) -> None:
    """Take a key out of nested values, and the groups that it leaves empty."""
    first, *rest = path
    if rest and first in values:
        _remove(values[first], rest)
    if not rest or not values.get(first, True):
        values.pop(first, None)


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is DATACLASS_MISSING else item.default_factory()


def digest(values: Any) -> str:
    """Eight hexadecimal digits of a SHA-256 over the values' canonical JSON."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_hash(cfg: Config) -> str:
    """Identity of an arm: equal for all its seeds, blind to paths, loggers, progress bars and evaluations."""
    return digest(identity_values(cfg))


def is_capsule_model(model: object) -> bool:
    """Whether a model's class scores are activations in [0, 1], such as capsule lengths, rather than logits."""
    return gives_activations(model)


def class_loss(cfg: Config) -> ClassLoss:
    """The classification loss with `auto` decided."""
    if cfg.loss.classification is not ClassLoss.auto:
        return cfg.loss.classification
    if not is_capsule_model(cfg.model):
        return ClassLoss.cross_entropy
    if cfg.data.overlap:
        return ClassLoss.margin
    return {"em": ClassLoss.spread, "self_routing": ClassLoss.nll}.get(routing_of(cfg.model), ClassLoss.margin)
