"""Values and combinations that the types alone let through but that no run can have."""

from collections.abc import Callable, Sequence

from capsbench.config import ClassLoss, Config, Optimizer, OptimizerAlgorithm, Schedule, is_capsule_model
from capsbench.config_models import (
    CONVOLUTIONAL,
    ITERATIVE,
    OWN_ACTIVATION,
    OWN_LOGITS,
    CapsNet,
    Cnn,
    EfficientCapsNet,
    MatrixCapsNet,
    Normaliser,
    Routing,
    SelfRoutingResNet,
    Squash,
    TransformSharing,
)
from capsbench.config_models import RoutingAlgorithm as Algorithm
from capsbench.errors import CapsbenchError

AT_LEAST_ONE = (
    "trainer.epochs",
    "trainer.steps",
    "trainer.validate_steps",
    "trainer.batch_size",
    "trainer.eval_batch_size",
    "trainer.devices",
    "trainer.threads",
    "trainer.log_every",
    "trainer.limit_batches",
    "trainer.overfit_batches",
    "data.train_images",
    "data.validation_images",
    "data.size",
    "data.crop",
    "evaluation.affine.images",
    "evaluation.affine.variants",
    "evaluation.affine.curve_images",
    "evaluation.matched.images",
    "evaluation.pose.images",
    "evaluation.pose.dimensions",
    "evaluation.parts.images",
    "evaluation.corruption.images",
    "evaluation.adversarial.images",
    "evaluation.adversarial.steps",
    "evaluation.adversarial.restarts",
    "evaluation.overlap.each",
    "model.stem_channels",
    "model.stem_kernel",
    "model.stem_depth",
    "model.primary_types",
    "model.primary_dim",
    "model.primary_kernel",
    "model.primary_stride",
    "model.class_dim",
    "model.routing.iterations",
    "model.iterations",
)
AT_LEAST_ZERO = (
    "seed",
    "data.split_seed",
    "data.pad",
    "data.shift",
    "data.brightness",
    "data.affine",
    "loss.reconstruction_weight",
    "optimizer.weight_decay",
    "optimizer.floor",
    "evaluation.adversarial.decision_images",
    "evaluation.adversarial.decision_queries",
    "evaluation.overlap.shift",
    "evaluation.routing_images",
    "evaluation.reconstructions",
)
ABOVE_ZERO = (
    "optimizer.lr",
    "optimizer.eps",
    "optimizer.decay",
    "optimizer.decay_steps",
    "optimizer.clip_norm",
    "model.routing.final_lambda",
    "model.routing.min_variance",
    "trainer.checkpoint_minutes",
)
SHARES = (
    "optimizer.cooldown",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.momentum",
    "optimizer.average_decay",
    "model.dropout",
    "loss.spread_start",
    "loss.spread_end",
    "evaluation.parts.accepted",
)
ROUTING_KEYS = {
    "iterations": ITERATIVE,
    "gradient": (Algorithm.dynamic, Algorithm.max_min),
    "final_lambda": (Algorithm.em,),
    "min_variance": (Algorithm.em,),
}


def check(cfg: Config) -> None:
    """Refuse what cannot run.

    Raises:
        CapsbenchError: naming the key, its value and what would be valid.
    """
    rules: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
        (AT_LEAST_ONE, lambda value: value >= 1, "at least 1"),
        (AT_LEAST_ZERO, lambda value: value >= 0, "at least 0"),
        (ABOVE_ZERO, lambda value: value > 0, "more than 0"),
        (("evaluation.pose.folds",), lambda value: value >= 2, "at least 2"),
        (SHARES, lambda value: 0 <= value < 1, "at least 0 and less than 1"),
    )
    for names, valid, rule in rules:
        for name in names:
            value = _get(cfg, name)
            if value is not None and not valid(value):
                raise CapsbenchError(f"{name}={value} must be {rule}")
    if cfg.trainer.compile not in ("auto", True, False):
        raise CapsbenchError(f"trainer.compile={cfg.trainer.compile} must be auto, true or false")
    _check_overlap(cfg)
    _check_evaluation(cfg)
    _check_optimizer(cfg.optimizer)
    _check_model(cfg)


def _check_optimizer(cfg: Optimizer) -> None:
    other = {
        OptimizerAlgorithm.adam: {"momentum": "sgd", "nesterov": "sgd"},
        OptimizerAlgorithm.sgd: {"beta1": "adam", "beta2": "adam", "eps": "adam"},
    }
    for name, needed in other[cfg.algorithm].items():
        if getattr(cfg, name) != getattr(Optimizer(), name):
            raise CapsbenchError(
                f"optimizer.{name}={getattr(cfg, name)} is a key of {needed} and does nothing with "
                f"optimizer.algorithm={cfg.algorithm}; leave it out or use optimizer.algorithm={needed}"
            )
    if cfg.nesterov and cfg.momentum == 0:
        raise CapsbenchError("optimizer.nesterov=true needs optimizer.momentum to be more than 0")
    if (cfg.schedule is Schedule.multistep) != bool(cfg.drops):
        raise CapsbenchError(
            f"optimizer.schedule={cfg.schedule} with optimizer.drops={list(cfg.drops)}: drops are the shares of the "
            "planned steps after which a multistep schedule drops, so one needs the other"
        )
    if any(not 0 < share < 1 for share in cfg.drops):
        raise CapsbenchError(f"optimizer.drops={list(cfg.drops)} must be shares of the planned steps, between 0 and 1")


def _check_overlap(cfg: Config) -> None:
    data, loss = cfg.data, cfg.loss.classification
    if not data.overlap:
        return
    for name in ("crop", "affine", "flip", "brightness", "contrast"):
        value = getattr(data, name)
        if value:
            raise CapsbenchError(
                f"data.{name}={value} with data.overlap=true: the digits of a pair are shifted and nothing else"
            )
    if loss in (ClassLoss.spread, ClassLoss.nll):
        raise CapsbenchError(
            f"loss.classification={loss} knows one class per image, data.overlap=true has two; use margin, "
            "cross_entropy (of each class's sigmoid) or auto"
        )
    if cfg.evaluation.matched.enabled:
        raise CapsbenchError(
            "evaluation.matched.enabled=true compares accuracies on single images; data.overlap=true trains on pairs"
        )


def _check_evaluation(cfg: Config) -> None:
    asked = cfg.evaluation
    ranges: tuple[tuple[str, Sequence[float], float, float], ...] = (
        ("evaluation.parts.grids", asked.parts.grids, 2, 1000),
        ("evaluation.corruption.severities", asked.corruption.severities, 1, 5),
        ("evaluation.adversarial.epsilons", asked.adversarial.epsilons, 0.0001, 1),
    )
    for name, values, low, high in ranges:
        if not values or not all(low <= value <= high for value in values):
            raise CapsbenchError(f"{name}={list(values)} must be numbers from {low} to {high}")


def _check_model(cfg: Config) -> None:
    model = cfg.model
    loss = cfg.loss.classification
    if loss in (ClassLoss.margin, ClassLoss.spread, ClassLoss.nll) and not is_capsule_model(model):
        raise CapsbenchError(
            f"loss.classification={loss} needs scores that are capsule lengths or other activations in [0, 1], which "
            f"{_why_logits(model)} does not give; use loss.classification=cross_entropy or auto"
        )
    if isinstance(model, CapsNet):
        if model.reconstruction and any(units < 1 for units in model.decoder_hidden):
            raise CapsbenchError(f"model.decoder_hidden={model.decoder_hidden} must be positive numbers")
        _check_routing(model.routing, model.squash)
        _check_transforms(model)
        _check_decoder(model)
    elif isinstance(model, EfficientCapsNet):
        _check_routing(model.routing, model.squash)
    elif isinstance(model, SelfRoutingResNet):
        _check_routing(model.routing, Squash.hinton)
    elif isinstance(model, MatrixCapsNet):
        _check_convolutional(model)
    elif isinstance(model, Cnn):
        for name in ("channels", "kernels", "strides", "windows", "hidden"):
            if any(number < 1 for number in getattr(model, name)):
                raise CapsbenchError(f"model.{name}={getattr(model, name)} must be positive numbers")


def _check_convolutional(model: MatrixCapsNet) -> None:
    if model.algorithm not in CONVOLUTIONAL:
        raise CapsbenchError(
            f"model.algorithm={model.algorithm} is not for convolutional capsule layers; those are "
            f"{', '.join(CONVOLUTIONAL)}, and inverted_attention in model=inverted_attention_net"
        )
    if model.iterations != MatrixCapsNet().iterations and model.algorithm not in ITERATIVE:
        raise CapsbenchError(f"model.iterations={model.iterations} does nothing with model.algorithm={model.algorithm}")


def _why_logits(model: object) -> str:
    """The key that makes a model's scores logits."""
    if isinstance(model, CapsNet | EfficientCapsNet | SelfRoutingResNet):
        if model.routing.algorithm in OWN_LOGITS:
            return f"model.routing.algorithm={model.routing.algorithm}"
        return f"model.squash={model.squash}" if not isinstance(model, SelfRoutingResNet) else model.name
    return f"model.name={getattr(model, 'name', None)}"


def _check_routing(routing: Routing, squash: Squash) -> None:
    dynamic, softmax = routing.algorithm is Algorithm.dynamic, routing.normaliser is Normaliser.softmax_out
    if routing.leaky and not (dynamic and softmax):
        raise CapsbenchError(
            "model.routing.leaky=true adds a parent to the softmax over output capsules, so it needs "
            "model.routing.algorithm=dynamic and model.routing.normaliser=softmax_out, not "
            f"{routing.algorithm} and {routing.normaliser}"
        )
    if not (softmax or dynamic):
        raise CapsbenchError(
            f"model.routing.normaliser={routing.normaliser} changes how dynamic routing's logits become coupling; "
            f"model.routing.algorithm={routing.algorithm} has its own rule"
        )
    if routing.algorithm in OWN_ACTIVATION and squash in (Squash.layer_norm, Squash.none):
        raise CapsbenchError(
            f"model.routing.algorithm={routing.algorithm} weighs primary capsules by their activation in [0, 1], their "
            f"length, which model.squash={squash} does not bound; use hinton, exponential or tanh"
        )

    for name, algorithms in ROUTING_KEYS.items():
        if getattr(routing, name) != getattr(Routing(), name) and routing.algorithm not in algorithms:
            raise CapsbenchError(
                f"model.routing.{name}={getattr(routing, name)} does nothing with model.routing.algorithm="
                f"{routing.algorithm}; it is a key of {', '.join(algorithms)}"
            )


def _check_decoder(model: CapsNet) -> None:
    for name in ("decoder", "mask"):
        if not model.reconstruction and getattr(model, name) != getattr(CapsNet(), name):
            raise CapsbenchError(
                f"model.{name}={getattr(model, name)} is about the decoder that model.reconstruction=false leaves out"
            )


def _check_transforms(model: CapsNet) -> None:
    routing, transforms = model.routing, model.transforms
    if routing.algorithm is Algorithm.shared and transforms not in (TransformSharing.per_pair, TransformSharing.single):
        raise CapsbenchError(
            f"model.routing.algorithm=shared has a single matrix per class, so model.transforms={transforms} "
            "cannot be; use model.routing.algorithm=uniform with it, or model.transforms=single"
        )
    if transforms is not TransformSharing.none:
        return
    if routing.algorithm not in (Algorithm.self_routing, Algorithm.random_fixed):
        raise CapsbenchError(
            "model.transforms=none makes every primary capsule predict the same pose for all classes, so that "
            f"model.routing.algorithm={routing.algorithm} cannot tell them apart; only self_routing and random_fixed, "
            "whose coupling differs by class without looking at votes, can do without matrices"
        )
    if model.primary_dim != model.class_dim:
        raise CapsbenchError(
            f"model.transforms=none keeps poses as they are, so model.class_dim={model.class_dim} must equal "
            f"model.primary_dim={model.primary_dim}"
        )


def _get(cfg: object, name: str) -> float | None:
    """The number behind a dotted name; None where this configuration has no such key."""
    value = cfg
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, int | float) else None
