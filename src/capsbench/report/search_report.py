"""The report of a search: its page, tables and figures on disk, and its lines for the terminal."""

from pathlib import Path

from capsbench.files import write_atomic
from capsbench.report.figures.search_history import history_plate
from capsbench.report.figures.search_space import front_plate, importance_plate, parallel_plate
from capsbench.report.figures.style import Plate, save
from capsbench.report.html import environment, picture
from capsbench.report.search import SearchRecord, command, reproduction, search_concerns, search_status
from capsbench.report.tables.table import markdown_text, to_csv, to_latex, to_markdown
from capsbench.report.tables.trials import space_table, trials_table, winners_table

PLATES = (history_plate, front_plate, importance_plate, parallel_plate)
# A front of more trials than this is a list that nobody pastes from.
COMMANDS = 6
TRIALS_SHOWN_OPEN = 60


def write_search_report(search: SearchRecord, out: Path) -> Path:
    """Write all files of a search's report, finished or not; the same trials give the same bytes.

    Returns:
        the path of index.html.
    """
    plates = [plate for draw in PLATES if (plate := draw(search)) is not None]
    for plate in plates:
        save(plate, out / "figures")
    winners, trials = winners_table(search), trials_table(search)
    write_atomic(out / "table.md", search_markdown(search))
    write_atomic(out / "table.csv", to_csv(winners))
    write_atomic(out / "table.tex", to_latex(winners))
    write_atomic(out / "trials.csv", to_csv(trials))
    index = out / "index.html"
    write_atomic(index, _page(search, plates))
    return index


def search_markdown(search: SearchRecord) -> str:
    """Concerns, winners with their commands, and all trials as Markdown."""
    parts = [f"# {markdown_text(search.title)}"]
    if search.question:
        parts.append(markdown_text(search.question))
    parts.append(f"{search_status(search)}.")
    weak = search_concerns(search)
    if weak:
        parts.append("Before you believe this:\n\n" + "\n".join(f"- {markdown_text(text)}" for text in weak))
    if search.winners:
        parts.append(to_markdown(winners_table(search)))
        for trial in search.winners[:COMMANDS]:
            commands = f"    {_line(command(trial))}\n    {_line(command(trial, fresh=True))}"
            parts.append(f"The configuration of trial {trial.number}, and the same with fresh seeds:\n\n{commands}")
    for objective, shares in search.importance.items():
        listed = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        parts.append(f"Importance for {markdown_text(objective)}: {markdown_text(listed)}.")
    parts.append(to_markdown(space_table(search)))
    if search.trials:
        parts.append(to_markdown(trials_table(search)))
    facts = [f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in reproduction(search)]
    parts.append("Reproduce:\n\n" + "\n".join(facts))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def search_text(search: SearchRecord) -> str:
    """Status, what to know, and the command of the best trial, for the terminal."""
    lines = [f"{_line(search.title)}: {search_status(search)}"]
    for trial in search.winners[:1]:
        lines += ["", "best configuration with fresh seeds:", f"  {_line(command(trial, fresh=True))}"]
    weak = search_concerns(search)
    if weak:
        lines += ["", "Before you believe this:", *(f"! {_line(text)}" for text in weak)]
    return "\n".join(lines) + "\n"


def _page(search: SearchRecord, plates: list[Plate]) -> str:
    shown = search.winners[:COMMANDS]
    return (
        environment()
        .get_template("search.html.j2")
        .render(
            search=search,
            several=len(search.objectives) > 1,
            status=search_status(search),
            concerns=search_concerns(search),
            winners=[(trial, command(trial), command(trial, fresh=True)) for trial in shown],
            more=len(search.winners) - len(shown),
            table=winners_table(search),
            space=space_table(search),
            trials=trials_table(search),
            trials_open=len(search.trials) <= TRIALS_SHOWN_OPEN,
            pictures=[picture(plate) for plate in plates],
            facts=reproduction(search),
        )
    )


def _line(text: str) -> str:
    """Text on one line of a terminal or a code block, without what a terminal would obey."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
