"""Values and combinations that the types alone let through but that no run can have."""

from capsbench.config import ClassLoss, Config, is_capsule_model
from capsbench.config_models import CapsNet, Cnn
from capsbench.errors import CapsbenchError

AT_LEAST_ONE = (
    "trainer.epochs",
    "trainer.steps",
    "trainer.batch_size",
    "trainer.eval_batch_size",
    "trainer.devices",
    "trainer.threads",
    "trainer.log_every",
    "trainer.limit_batches",
    "trainer.overfit_batches",
    "data.train_images",
    "data.validation_images",
    "evaluation.affine.images",
    "evaluation.affine.variants",
    "evaluation.affine.curve_images",
    "model.stem_channels",
    "model.stem_kernel",
    "model.primary_types",
    "model.primary_dim",
    "model.primary_kernel",
    "model.primary_stride",
    "model.class_dim",
    "model.routing.iterations",
)
AT_LEAST_ZERO = (
    "seed",
    "data.split_seed",
    "data.pad",
    "data.shift",
    "loss.reconstruction_weight",
    "optimizer.weight_decay",
    "optimizer.floor",
    "evaluation.routing_images",
    "evaluation.reconstructions",
)
ABOVE_ZERO = (
    "optimizer.lr",
    "optimizer.eps",
    "optimizer.decay",
    "optimizer.decay_steps",
    "optimizer.clip_norm",
    "trainer.checkpoint_minutes",
)
SHARES = ("optimizer.beta1", "optimizer.beta2", "model.dropout")


def check(cfg: Config) -> None:
    """Refuse what cannot run.

    Raises:
        CapsbenchError: naming the key, its value and what would be valid.
    """
    for names, valid, rule in (
        (AT_LEAST_ONE, lambda value: value >= 1, "at least 1"),
        (AT_LEAST_ZERO, lambda value: value >= 0, "at least 0"),
        (ABOVE_ZERO, lambda value: value > 0, "more than 0"),
        (SHARES, lambda value: 0 <= value < 1, "at least 0 and less than 1"),
    ):
        for name in names:
            value = _get(cfg, name)
            if value is not None and not valid(value):
                raise CapsbenchError(f"{name}={value} must be {rule}")
    if cfg.trainer.compile not in ("auto", True, False):
        raise CapsbenchError(f"trainer.compile={cfg.trainer.compile} must be auto, true or false")
    _check_model(cfg)


def _check_model(cfg: Config) -> None:
    model = cfg.model
    if cfg.loss.classification is ClassLoss.margin and not is_capsule_model(model):
        raise CapsbenchError(
            "loss.classification=margin needs scores that are capsule lengths in [0, 1), which "
            f"model.name={model.name} does not give; use loss.classification=cross_entropy or auto"
        )
    if isinstance(model, CapsNet):
        if model.reconstruction and any(units < 1 for units in model.decoder_hidden):
            raise CapsbenchError(f"model.decoder_hidden={model.decoder_hidden} must be positive numbers")
    elif isinstance(model, Cnn):
        for name in ("channels", "kernels", "strides", "windows", "hidden"):
            if any(number < 1 for number in getattr(model, name)):
                raise CapsbenchError(f"model.{name}={getattr(model, name)} must be positive numbers")


def _get(cfg: object, name: str) -> float | None:
    """The number behind a dotted name; None where this configuration has no such key."""
    value = cfg
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, int | float) else None
