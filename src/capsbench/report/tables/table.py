"""One table, four forms: Markdown, CSV, LaTeX (booktabs) and HTML all come from the same cells.

Names in configurations are text to all of them: HTML and LaTeX characters are escaped, Markdown's are too, and a CSV
cell that a spreadsheet would run as a formula is quoted away (OWASP, CSV injection).
"""

import csv
import html
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MISSING = "–"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# Longer headers and texts are broken into lines of at most this many letters.
LATEX_HEADER, LATEX_TEXT = 16, 28
# Longer texts of a column are given a wide one in HTML.
HTML_TEXT = 16
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # A row that begins with one of these would be read as an option of the line break before it.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "√": r"$\surd$",
    "→": r"$\to$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}
# What pdfLaTeX with T1 sets without further packages: Latin-1 and Latin Extended-A, but for what no font has.
LATEX_LAST, LATEX_LACKS = 0x17F, set("\xa0\xad\u0126\u0127\u0138\u0149\u0166\u0167\u017f")


@dataclass(frozen=True)
class Cell:
    """What a person reads, and the numbers behind it for a program.

    Attributes:
        text: the cell as printed.
        numbers: values by what they are (`mean`, `sd`, ...; `` for a cell that is one number).
    """

    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column's header, the group of columns it belongs to, and whether it holds numbers."""

    header: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Cells under columns.

    Attributes:
        title: what the table is about.
        caption: what +- is, how checkpoints were chosen, how many seeds.
        columns: the first ones name the row and are repeated where groups are printed apart.
        rows: one cell per column.
        label: LaTeX label.
    """

    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    label: str = "table"

    def __html__(self) -> str:
        """The table as HTML with escaped cells, for templates."""
        return to_html(self)

    def parts(self) -> list["Table"]:
        """One narrow table per group of columns; columns without a group name the row and come in all."""
        parts = []
        for name in dict.fromkeys(column.group for column in self.columns if column.group) or [""]:
            places = [place for place, column in enumerate(self.columns) if column.group in ("", name)]
            parts.append(
                Table(
                    name or self.title,
                    self.caption,
                    [self.columns[place] for place in places],
                    [[row[place] for place in places] for row in self.rows],
                    f"{self.label}-{re.sub(r'[^a-z]+', '-', name.lower()).strip('-')}" if name else self.label,
                )
            )
        return parts


def to_markdown(table: Table) -> str:
    """GitHub-flavoured Markdown, one table per group of columns under one caption."""
    blocks = []
    for part in table.parts():
        lines = [
            _markdown_row([column.header for column in part.columns]),
            "|" + "|".join(" ---: " if column.numeric else " --- " for column in part.columns) + "|",
            *(_markdown_row([cell.text for cell in row]) for row in part.rows),
        ]
        blocks.append(f"**{markdown_text(part.title)}**\n\n" + "\n".join(lines))
    return "\n\n".join([*blocks, markdown_text(table.caption)]) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated values for programs: a column per number (`error % mean`, `error % sd`), or the text."""
    keys: list[list[str]] = []
    for place, column in enumerate(table.columns):
        found = dict.fromkeys(key for row in table.rows for key in row[place].numbers)
        keys.append(list(found) if column.numeric and found else [])
    header = [
        csv_text(f"{column.header} {key}".strip())
        for column, names in zip(table.columns, keys, strict=True)
        for key in (names or [""])
    ]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        writer.writerow(
            value
            for cell, names in zip(row, keys, strict=True)
            for value in ([_number(cell.numbers.get(key)) for key in names] or [csv_text(cell.text)])
        )
    return stream.getvalue()


def to_latex(table: Table) -> str:
    """LaTeX tables in booktabs style, one per group of columns, shrunk where they are wider than the text.

    The first caption explains them all. The document needs the packages array, booktabs and graphicx.
    """
    blocks = []
    parts = table.parts()
    for number, part in enumerate(parts):
        title = part.title if part.title.startswith(table.title) else f"{table.title}: {part.title}"
        caption = f"{latex_text(title)}. "
        caption += f"As Table~\\ref{{tab:{parts[0].label}}}." if number else latex_text(part.caption)
        columns = "".join(_latex_column(part, place) for place in range(len(part.columns)))
        lines = [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{caption}}}",
            f"  \\label{{tab:{part.label}}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            "    " + " & ".join(map(_latex_header, part.columns)) + r" \\",
            r"    \midrule",
            *(f"    {_latex_row([cell.text for cell in row])}" for row in part.rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
        blocks.append("\n".join(lines))
    return "% needs \\usepackage{array,booktabs,graphicx}\n" + "\n\n".join(blocks) + "\n"


def to_html(table: Table) -> str:
    """HTML tables, one per group of columns, each in a box that scrolls sideways on a narrow screen."""
    return "\n".join(_html_part(part) for part in table.parts())


def _html_part(table: Table) -> str:
    title = html.escape(table.title)
    kinds = [_html_kind(table, place) for place in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{kind}>{_html_header(column.header)}</th>'
        for column, kind in zip(table.columns, kinds, strict=True)
    )
    lines = [
        f'<div class="scroll" role="region" aria-label="{title}" tabindex="0">',
        f"<table><caption>{title}</caption>",
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
    ]
    for row in table.rows:
        first, *others = (html.escape(cell.text) for cell in row)
        cells = "".join(f"<td{kind}>{text}</td>" for text, kind in zip(others, kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row"{kinds[0]}>{first}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table></div>"])


def _html_header(text: str) -> str:
    """Names of keys may be broken after dots, slashes and underscores."""
    return re.sub(r"([./_])(?=\w)", r"\1<wbr>", html.escape(text))


def _html_kind(table: Table, place: int) -> str:
    """Numbers and short texts stay on one line; long texts get room, so that no row grows tall off the screen."""
    if table.columns[place].numeric:
        return ' class="number"'
    longest = max((len(row[place].text) for row in table.rows), default=0)
    return ' class="long"' if longest > HTML_TEXT else ' class="short"'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table whose cells are Markdown already."""
    head, *lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return [head, f"|{'---|' * len(header)}", *lines]


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code_block(lines: Sequence[str]) -> str:
    """Lines that Markdown shows as they are, to be copied; what a terminal would obey is left out."""
    return "\n".join("    " + "".join(letter for letter in line if letter.isprintable()) for line in lines)


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is, on one line; letters that it lacks are named, so that the document compiles."""
    return "".join(map(_latex_letter, filter(str.isprintable, " ".join(text.split()))))


def _latex_letter(letter: str) -> str:
    if letter in LATEX:
        return LATEX[letter]
    return letter if ord(letter) <= LATEX_LAST and letter not in LATEX_LACKS else f"{{[}}U+{ord(letter):04X}]"


def csv_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(markdown_text, texts)) + " |"


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(map(latex_text, texts)) + r" \\"


def _latex_column(table: Table, place: int) -> str:
    if table.columns[place].numeric:
        return "r"
    longest = max((len(row[place].text) for row in table.rows), default=0)
    return "l" if longest <= LATEX_TEXT else rf">{{\raggedright\arraybackslash}}p{{{LATEX_TEXT}ex}}"


def _latex_header(column: Column) -> str:
    lines = [latex_text(line) for line in textwrap.wrap(column.header, LATEX_HEADER)]
    side, text = "r" if column.numeric else "l", r" \\ ".join(lines)
    return text if len(lines) < 2 else rf"\shortstack[{side}]{{{text}}}"


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.10g}"
