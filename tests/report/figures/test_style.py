"""All figures look alike, and draw any text as text."""

import warnings

import pytest

from capsbench.report.figures.style import COLOURS, Plate, looks, new_figure, plain_text, save


def drawn(label):
    figure = new_figure(9, 3)
    axes = figure.subplots()
    axes.set_title(plain_text(label))
    axes.plot([0, 1], [0, 1], label=plain_text(label))
    axes.legend()
    return Plate("x", "", "", "", figure)


@pytest.mark.parametrize(
    "label", [r"$\frac{1}", "$x$ and $", r"\$", "_hidden", "胶囊", "a\x00b\n\nc", "x" * 300, "🙂", "%s {} \\"]
)
def test_hostile_labels_are_drawn_without_complaint(label):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(label).png.startswith(b"\x89PNG")
        assert b"<svg" in drawn(label).svg


def test_mathematics_is_not_interpreted():
    assert plain_text("$x^2$") == r"\$x^2\$"
    assert drawn("$x^2$").svg != drawn("x2").svg


def test_long_text_is_wrapped_and_cut():
    lines = plain_text("word " * 100, width=20).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 22
    assert lines[-1].endswith("…")


def test_every_arm_looks_different():
    found = looks({str(number): str(number) for number in range(20)})
    assert len({(look.colour, look.marker) for look in found.values()}) == 20
    assert len({look.colour for look in list(found.values())[: len(COLOURS)]}) == len(COLOURS)


def test_colours_stand_out_from_paper():
    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in COLOURS:
        assert 1.05 / (luminance(colour) + 0.05) > 2


def test_same_figure_same_bytes(tmp_path):
    for folder in ("a", "b"):
        save(drawn("label"), tmp_path / folder)
    for name in ("x.svg", "x.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
