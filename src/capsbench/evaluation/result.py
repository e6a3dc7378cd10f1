"""What every evaluation hands back: numbers for tables, figure data for a report, arrays to keep in .npz files."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Evaluated:
    """The answer to one question about one trained model.

    Attributes:
        numbers: flat metric name ("affine/accuracy") to value; a metric that does not apply to the model is absent.
        figures: data behind figures by name, made of what JSON can hold.
        arrays: per-image values by the name they get in predictions.npz or pictures.npz.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
