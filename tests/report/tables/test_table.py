"""Every form of a table shows the same cells, and hostile text as text."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.report.tables.table import (
    Cell,
    Column,
    Table,
    csv_text,
    latex_text,
    markdown_text,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '=HYPERLINK("http://x","y")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    r"\input{/etc/passwd} $x^2$ 50 % & #_{}~",
    "a | b\n| c | d |",
    "*bold* [link](http://x) `code`",
    'quote " and , comma',
    "[5cm] not an option",
    "* not a star",
    "日本語 Δμ 😀 → ÷ “quoted” Ĳ Ŧ ŉ",
]


def table(names):
    return Table(
        "Arms & <others>",
        "± is the sd.",
        [
            Column("arm", numeric=False),
            Column("error %", "Errors"),
            Column("time", "Cost"),
            Column("note", "Cost", numeric=False),
        ],
        [[Cell(name), Cell("0.25 ± 0.03", {"mean": 0.25, "sd": 0.03}), Cell("–"), Cell(name)] for name in names],
    )


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_html_shows_hostile_text_and_no_foreign_tag():
    parser = Texts()
    parser.feed(to_html(table(HOSTILE)))
    assert parser.tags == {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    for name in HOSTILE:
        assert name in parser.texts


def test_html_breaks_names_of_keys_and_only_there():
    header = to_html(Table("t", "", [Column("model.stem_channels <x>")], [], "t"))
    assert '<th scope="col" class="number">model.<wbr>stem_<wbr>channels &lt;x&gt;</th>' in header


def test_csv_holds_numbers_and_no_formula():
    rows = list(csv.reader(io.StringIO(to_csv(table(HOSTILE)))))
    assert rows[0] == ["arm", "error % mean", "error % sd", "time", "note"]
    for row, name in zip(rows[1:], HOSTILE, strict=True):
        assert row[0].removeprefix("'") == name
        assert row[0][0] not in "=+-@\t\r"
        assert [float(value) for value in row[1:3]] == [0.25, 0.03]


@given(st.text())
def test_no_text_becomes_a_formula(text):
    cell = csv_text(text)
    assert cell.endswith(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_csv_leaves_negative_numbers_alone_and_empty_where_missing():
    small = Table(
        "t",
        "",
        [Column("arm", numeric=False), Column("delta")],
        [[Cell("a"), Cell("−1", {"": -1.0})], [Cell("b"), Cell("–")]],
    )
    assert to_csv(small) == "arm,delta\na,-1\nb,\n"


def test_markdown_keeps_its_columns():
    text = to_markdown(table(HOSTILE))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + len(HOSTILE))
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) in (3, 4)
    assert "<script" not in text
    assert "**Errors**" in text
    assert "**Cost**" in text


def test_latex_escapes_every_special_character():
    special = latex_text("\\ { } $ & # _ % ~ ^")
    assert special == (r"\textbackslash{} \{ \} \$ \& \# \_ \% \textasciitilde{} \textasciicircum{}")
    text = to_latex(table(HOSTILE))
    assert r"\input" not in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert r"0.25 $\pm$ 0.03" in text


@given(st.text())
def test_latex_leaves_no_special_character_bare(text):
    left = re.sub(r"\\[{}$&#_%]", "", latex_text(text))
    left = re.sub(r"\\[a-z]+\{\}|\$\\[a-z]+\$|\$-\$|\{[\[*]\}", "", left)
    assert not set(left) & set("\\{}$&#_%~^[*")
    assert all(ord(letter) <= 0x17F for letter in left)


def test_latex_explains_its_tables_once():
    text = to_latex(table(["a"]))
    assert text.count("is the sd.") == 1
    assert r"\caption{Arms \& \textless{}others\textgreater{}: Errors. " in text
    assert r"Cost. As Table~\ref{tab:table-errors}.}" in text
    assert r"\label{tab:table-errors}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path):
    document = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{array,booktabs,graphicx}"
    source = tmp_path / "t.tex"
    source.write_text(document + r"\begin{document}" + to_latex(table(HOSTILE)) + r"\end{document}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_parts_repeat_the_first_column():
    parts = table(["a"]).parts()
    assert [part.title for part in parts] == ["Errors", "Cost"]
    assert [[column.header for column in part.columns] for part in parts] == [
        ["arm", "error %"],
        ["arm", "time", "note"],
    ]


def test_markdown_text_is_one_line():
    assert markdown_text("a\n# b") == r"a \# b"
