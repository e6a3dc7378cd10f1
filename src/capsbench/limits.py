"""Numbers and names that no run can have, whichever key has them: too large, not finite, too long for a folder."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from capsbench.config import Config
from capsbench.config_models import EfficientCapsNet, HvcNet
from capsbench.errors import CapsbenchError

# NumPy's largest seed, and the largest size that every library here can count with.
LARGEST_SEED, LARGEST_NUMBER = 2**32 - 1, 2**31 - 1
# A file system's longest name is 255 bytes; the hash of the run comes behind an arm's.
LONGEST_NAME = 200
FOLDERS = ("run.group", "run.arm")
EFFICIENT_CHANNELS = 128
LEAST = {"model.growth": 0, "model.pose_side": 2}
LENGTHS = {
    ("MatrixCapsNet", "model.types"): 3,
    ("MatrixCapsNet", "model.strides"): 2,
    ("InvertedAttentionNet", "model.types"): 3,
    ("InvertedAttentionNet", "model.strides"): 2,
    ("InvertedAttentionNet", "model.backbone"): 2,
    ("DeepCaps", "model.dims"): 4,
}
AT_MOST = {"optimizer.decay": 1.0, "data.pad": 1000.0, "data.shift": 1000.0}


def check_limits(cfg: Config) -> None:
    """Refuse what would end in an overflow.

    Raises:
        CapsbenchError: naming the key, its value and what would be valid.
    """
    for name, value in _values("", cfg):
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise CapsbenchError(f"{name}={value} must be a finite number")
            most = LARGEST_SEED if name.endswith("seed") else AT_MOST.get(name, LARGEST_NUMBER)
            if isinstance(number, int | float) and not isinstance(number, bool) and number > most:
                # A float may be as large as it likes where nothing is counted with it.
                if isinstance(number, float) and name not in AT_MOST:
                    continue
                raise CapsbenchError(f"{name}={value} must be at most {most:,.10g}")
    _check_sizes(cfg.model)
    for name in FOLDERS:
        text = getattr(cfg.run, name.removeprefix("run."))
        if len(text.encode()) > LONGEST_NAME or not text.isprintable():
            raise CapsbenchError(
                f"{name}={text[:40]!r}... becomes a folder's name: it must have at most {LONGEST_NAME} bytes and no "
                "control characters (run.arm is model.name where it is not given)"
            )


def _check_sizes(model: Any) -> None:
    """Sizes of a network count something, and its lists have one entry for each layer that the paper has."""
    family = type(model).__name__
    for name, value in _values("model.", model):
        numbers = value if isinstance(value, list) else [value]
        least = LEAST.get(name, 1)
        if any(isinstance(number, int) and not isinstance(number, bool) and number < least for number in numbers):
            raise CapsbenchError(f"{name}={value} must be at least {least}")
        length = LENGTHS.get((family, name))
        if isinstance(value, list) and length is not None and len(value) != length:
            raise CapsbenchError(f"{name}={value} must have {length} numbers")
    if isinstance(model, HvcNet) and not model.branches:
        raise CapsbenchError("model.branches=[] must name at least one convolution")
    if isinstance(model, EfficientCapsNet) and EFFICIENT_CHANNELS % model.primary_types:
        raise CapsbenchError(
            f"model.primary_types={model.primary_types} must divide the {EFFICIENT_CHANNELS} primary channels"
        )


def _values(prefix: str, cfg: Any) -> Iterator[tuple[str, Any]]:
    for item in fields(cfg):
        value = getattr(cfg, item.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _values(f"{prefix}{item.name}.", value)
        else:
            yield f"{prefix}{item.name}", value
