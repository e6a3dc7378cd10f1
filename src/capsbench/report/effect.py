"""How large a difference is: one number with its interval, in words and as a line beside the words."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Scale(StrEnum):
    """What the number is."""

    points = "percentage points"
    times = "times"
    difference = "difference"
    level = "level"


@dataclass(frozen=True)
class Effect:
    """A measured difference between two arms, or the level of one.

    Attributes:
        name: what was measured, and of which arms.
        scale: what the number is; points are B's error % less A's, times B's median over A's.
        value: the number; NaN where runs never got there.
        low: lower end of its 95 % interval; NaN where there is none.
        high: upper end.
        neutral: what it would be if nothing were true of the claim: 0, 1, or the bound.
    """

    name: str
    scale: Scale
    value: float
    low: float
    high: float
    neutral: float

    @property
    def text(self) -> str:
        """The number and its interval, as `+1.12 points [+0.77, +1.47]`."""
        if math.isnan(self.value):
            return "never reached"
        signed = self.scale in (Scale.points, Scale.difference)
        number, low, high = (_number(one, signed=signed) for one in (self.value, self.low, self.high))
        unit = {Scale.points: " points", Scale.times: " times"}.get(self.scale, "")
        return f"{number}{unit}" + ("" if math.isnan(self.low) else f" [{low}, {high}]")

    @property
    def line(self) -> dict[str, float] | None:
        """Where value, ends and neutral lie from 0 to 100 on an axis that holds all of them; None without a value."""
        if not math.isfinite(self.value):
            return None
        scale = math.log if self.scale is Scale.times else float
        ends = {"low": self.low, "high": self.high, "value": self.value, "neutral": self.neutral}
        places = {name: scale(one) for name, one in ends.items() if math.isfinite(one)}
        left, width = min(places.values()), (max(places.values()) - min(places.values())) or 1.0
        return {name: round(6 + 88 * (place - left) / width, 1) for name, place in places.items()}


def _number(value: float, *, signed: bool) -> str:
    text = f"{value:+#.3g}" if signed else f"{value:#.3g}"
    return text.removesuffix(".").replace("-", "−")
