"""Shell completion: commands and sweep names by this package, groups, options and keys of a run by Hydra."""

from collections.abc import Sequence

SCRIPTS = {
    "bash": """\
_capsbench() {
  local IFS=$'\\n'
  COMP_WORDBREAKS=${COMP_WORDBREAKS//=/}
  COMPREPLY=($(capsbench complete "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
  [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -F _capsbench capsbench""",
    "zsh": """\
_capsbench() {
  local -a found
  found=(${(f)"$(capsbench complete "${BUFFER[1,CURSOR]}" 2>/dev/null)"})
  compadd -S '' -- $found
}
compdef _capsbench capsbench""",
    "fish": """\
complete -c capsbench -f -a '(capsbench complete (commandline -cp) 2>/dev/null)'""",
}
WITH_SWEEP = ("sweep", "status", "report", "sync")


def script(shell: str) -> str:
    """What to evaluate in the shell: `eval "$(capsbench completion bash)"`."""
    return SCRIPTS[shell]


def candidates(line: str) -> list[str]:
    """Words that could end this command line.

    Args:
        line: the command line up to the cursor, the program's name first.
    """
    words = line.split()
    if line.endswith((" ", "\t")):
        words.append("")
    word, before = words[-1], words[1:-1]
    if not before:
        return _starting(word, _commands())
    if before[0] in WITH_SWEEP and len(before) == 1:
        from capsbench.compose import shipped
        from capsbench.sweep_file import available_sweeps

        return _starting(word, available_sweeps(shipped("sweeps")))
    if before[0] == "train":
        return _overrides(before[1:], word)
    if before[0] == "doctor":
        return _overrides(before[1:], word)
    return _overrides(before[2:], word) if before[0] == "sweep" else []


def _commands() -> list[str]:
    from capsbench.arguments import COMMANDS

    return list(COMMANDS)


def _starting(word: str, names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(word))


def _overrides(before: Sequence[str], word: str) -> list[str]:
    """Hydra's own completion of the last word of a run's command line."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra._internal.utils import create_config_search_path

    from capsbench.compose import register_schema, shipped

    register_schema()
    loader = ConfigLoaderImpl(create_config_search_path(str(shipped("conf"))))
    found: list[str] = BashCompletion(loader)._query("config", " ".join([*before, word]))
    return [name for name in found if not name.startswith(("schema", "hydra"))]
