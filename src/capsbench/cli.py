"""The command line: parse and call, nothing else."""

import sys

from capsbench import commands
from capsbench.arguments import parser
from capsbench.environment import prepare_environment
from capsbench.reporting import reporting_errors


def main() -> None:
    """Entry point of the console script."""
    prepare_environment()
    with reporting_errors():
        arguments = sys.argv[1:]
        # Hydra reads a run's arguments itself: flags, overrides and completion are its own.
        if arguments[:1] == ["train"]:
            from capsbench.app import main as train

            train(arguments[1:])
            return
        if arguments[:1] == ["complete"]:
            from capsbench.completion import candidates

            print("\n".join(candidates(arguments[1])))
            return
        parsed, rest = parser().parse_known_args(arguments)
        # argparse takes no further positionals after an option, and overrides may well come last.
        strange = [word for word in rest if "=" not in word or word.startswith("--") or "overrides" not in parsed]
        if strange:
            parser().error(f"unrecognized arguments: {' '.join(strange)}")
        if rest:
            parsed.overrides += rest
        sys.exit(getattr(commands, parsed.command)(parsed))
