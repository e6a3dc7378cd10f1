"""Numbers and names that no run can have, whichever key has them: too large, not finite, too long for a folder."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from capsbench.config import Config
from capsbench.errors import CapsbenchError

# NumPy's largest seed, and the largest size that every library here can count with.
LARGEST_SEED, LARGEST_NUMBER = 2**32 - 1, 2**31 - 1
# A file system's longest name is 255 bytes; the hash of the run comes behind an arm's.
LONGEST_NAME = 200
FOLDERS = ("run.group", "run.arm")
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
    for name in FOLDERS:
        text = getattr(cfg.run, name.removeprefix("run."))
        if len(text.encode()) > LONGEST_NAME or not text.isprintable():
            raise CapsbenchError(
                f"{name}={text[:40]!r}... becomes a folder's name: it must have at most {LONGEST_NAME} bytes and no "
                "control characters (run.arm is model.name where it is not given)"
            )


def _values(prefix: str, cfg: Any) -> Iterator[tuple[str, Any]]:
    for item in fields(cfg):
        value = getattr(cfg, item.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _values(f"{prefix}{item.name}.", value)
        else:
            yield f"{prefix}{item.name}", value
