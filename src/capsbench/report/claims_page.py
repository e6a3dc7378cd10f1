"""The claims report: one page, its Markdown, and its lines for the terminal."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from capsbench.files import write_atomic
from capsbench.report.claims import JudgedClaim
from capsbench.report.findings import MIN_SEEDS, Finding, Standing
from capsbench.report.html import environment
from capsbench.report.tables.table import MISSING, markdown_text


def write_claims(judged: Sequence[JudgedClaim], out: Path) -> Path:
    """Write claims.md and index.html into `out`; the same runs give the same bytes.

    Returns:
        the path of index.html.
    """
    write_atomic(out / "claims.md", claims_markdown(judged))
    index = out / "index.html"
    page = environment().get_template("claims.html.j2")
    write_atomic(index, page.render(judged=judged, status=status_line(judged), seeds=MIN_SEEDS))
    return index


def status_line(judged: Sequence[JudgedClaim]) -> str:
    """How many claims stand where."""
    counts = Counter(one.standing for one in judged)
    return ", ".join(f"{counts[standing]} {standing}" for standing in Standing if counts[standing])


def claims_markdown(judged: Sequence[JudgedClaim]) -> str:
    """A table of all verdicts, then each claim with its test and its numbers."""
    lines = [
        "# What people say about capsules, tested",
        "",
        f"{status_line(judged)}.",
        "",
        "| claim | verdict | effect [95 % interval] |",
    ]
    lines += ["| --- | --- | --- |"]
    lines += [
        f"| {markdown_text(one.claim.statement)} | **{one.standing}** | {'; '.join(_effects(one)) or MISSING} |"
        for one in judged
    ]
    for one in judged:
        lines += ["", f"## {markdown_text(one.claim.statement)}", "", f"**{one.standing}**. {_said(one)}", ""]
        for finding in one.findings:
            lines += _finding_lines(finding)
        for finding in one.also:
            lines += _finding_lines(finding, "beside it, decides nothing: ")
        lines += [f"- {markdown_text(one.across)}"] if one.across else []
        lines += [
            f"- first look, decides nothing: {markdown_text(look.text)} ({markdown_text(look.origin)})"
            for look in one.first_look
        ]
        if one.commands:
            lines += ["", "To decide it: " + ", ".join(f"`{command}`" for command in one.commands)]
    return "\n".join(lines) + "\n"


def _finding_lines(finding: Finding, lead: str = "") -> list[str]:
    effect = (
        f"**{markdown_text(finding.effect.text)}** ({markdown_text(finding.effect.name)}). " if finding.effect else ""
    )
    numbers = f" {markdown_text(finding.numbers)}." if finding.numbers else ""
    where = f" ({markdown_text(finding.origin)}, seeds {finding.seeds[0]} and {finding.seeds[1]}"
    where += f": {markdown_text(finding.setting)})" if finding.setting else ")"
    line = f"- {lead}{effect}{markdown_text(finding.text)}{numbers}{where if finding.origin else ''}"
    return [line, *(f"  - {markdown_text(caveat)}" for caveat in finding.caveats)]


def _effects(one: JudgedClaim) -> list[str]:
    return [markdown_text(f"{found.effect.text} ({found.effect.name})") for found in one.findings if found.effect]


def claims_text(judged: Sequence[JudgedClaim]) -> str:
    """A line per claim for the terminal, and what to run."""
    width = max((len(standing) for standing in Standing), default=0)
    lines = [f"{one.standing:<{width}}  {one.claim.statement}" for one in judged]
    commands = list(dict.fromkeys(command for one in judged for command in one.commands))
    if commands:
        lines += ["", "To decide the rest:", *(f"  {command}" for command in commands)]
    return "\n".join(lines)


def _said(one: JudgedClaim) -> str:
    return f"Said by: {markdown_text(one.claim.source)}. Test: {markdown_text(one.claim.test)}"
