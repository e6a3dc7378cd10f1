"""Every `capsbench` command in the README is one that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from capsbench.arguments import parser
from capsbench.compose import compose, shipped
from capsbench.data.commands import data_config
from capsbench.studies.search_file import load_design

README = (Path(__file__).parents[1] / "README.md").read_text()
LINES = [line.strip() for line in README.splitlines() if line.startswith("    capsbench ")]
INLINE = [text for text in re.findall(r"`(capsbench [^`\n]+)`", README) if ".yaml" not in text]
COMMANDS = list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in [*LINES, *INLINE]))


def test_the_readme_has_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_it(command):
    words = shlex.split(command)[1:]
    if words[0] == "train":
        # Of several values the first is as good as any.
        compose([word.partition(",")[0] for word in words[1:] if not word.startswith("-")])
        return
    arguments, rest = parser().parse_known_args(words)
    assert all("=" in word and not word.startswith("-") for word in rest)
    if words[0] in ("sweep", "status", "report") and arguments.name != "claims":
        load_design(arguments.name, shipped("sweeps"), arguments.preset)
    if words[0] == "data" and arguments.action in ("fetch", "show", "verify"):
        data_config(arguments.name, None, [*arguments.overrides, *rest])
