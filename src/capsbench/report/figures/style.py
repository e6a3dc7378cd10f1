"""How all figures look: one colour and marker per arm (Okabe and Ito's colour-blind-safe palette), no global state."""

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from capsbench.files import write_atomic
from capsbench.report.analysis import Analysis

# Okabe and Ito 2008, without the yellow that vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333", "#8B5A2B")
# One fewer than colours, so that the ninth arm differs from the first in its marker too.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
INK, FAINT, PAPER = "#1b1b1b", "#c9c9c9", "#ffffff"
FONT = "DejaVu Sans"
DPI = 160


@dataclass(frozen=True)
class Plate:
    """A figure with its words.

    Attributes:
        name: file name without its ending.
        title: what it shows.
        caption: how to read it: what bands and bars are.
        alt: what is in the picture, for those who do not see it.
        figure: the drawing.
    """

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG, letters as outlines, without a date: the same runs give the same bytes."""
        return _printed(self.figure, "svg", {"Date": None})

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG."""
        return _printed(self.figure, "png", {"Software": None})


@dataclass(frozen=True)
class Look:
    """How one arm is drawn in every figure."""

    label: str
    colour: str
    marker: str
    line: Literal["-", "--", "-.", ":"]


def looks(labels: dict[str, str]) -> dict[str, Look]:
    """A look for each arm by name, fixed by the arm's place in the sweep."""
    return {
        name: Look(
            plain_text(label),
            COLOURS[place % len(COLOURS)],
            MARKERS[place % len(MARKERS)],
            LINES[place // len(COLOURS) % len(LINES)],
        )
        for place, (name, label) in enumerate(labels.items())
    }


def arm_looks(analysis: Analysis) -> dict[str, Look]:
    """The looks of a sweep's arms."""
    return looks({name: arm.label for name, arm in analysis.ablation.sweep.arms.items()})


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, drawn by Agg, whose parts arrange themselves without overlaps."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "", grid: str = "both") -> None:
    """Labels in ink, a faint grid behind the data, no box."""
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#777777")
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color="#e6e6e6", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)
    if title:
        axes.set_title(title, fontsize=11, color=INK, loc="left")


def legend(figure: Figure, handles: Iterable[Artist], labels: Sequence[str]) -> None:
    """A legend below all panels, in as many columns as its labels allow; the figure grows by its height."""
    wrapped = [plain_text(label, width=44) for label in labels]
    longest = max((len(line) for label in wrapped for line in label.split("\n")), default=1)
    widest = max(1, int(figure.get_figwidth() * 11.5 / (longest + 7)))
    rows = math.ceil(len(wrapped) / widest)
    columns = max(1, math.ceil(len(wrapped) / max(rows, 1)))
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(wrapped) / columns))
    figure.legend(handles, wrapped, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def plain_text(text: str, width: int = 60) -> str:
    """Text that matplotlib draws as it is: no mathematics, no hidden legend entries, no characters the font lacks."""
    known = "".join(letter if _drawable(letter) else "□" for letter in " ".join(text.split()))
    lines = textwrap.wrap(known, width, max_lines=3, placeholder=" …") or [""]
    safe = "\n".join(lines).replace("$", r"\$")
    return f" {safe}" if safe.startswith("_") else safe


def save(plate: Plate, folder: Path) -> None:
    """Write a plate as SVG and PNG."""
    write_atomic(folder / f"{plate.name}.svg", plate.svg)
    write_atomic(folder / f"{plate.name}.png", plate.png)


def _printed(figure: Figure, form: str, metadata: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "capsbench", "svg.fonttype": "path"}):
        figure.savefig(stream, format=form, dpi=DPI, metadata=metadata)
    return stream.getvalue()


def _drawable(letter: str) -> bool:
    return letter.isprintable() and ord(letter) in _letters()


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(FONT)).get_charmap())
