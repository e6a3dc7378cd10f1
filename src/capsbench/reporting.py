"""How a command ends: exit statuses, and what is said about a user's mistake."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from capsbench.errors import CapsbenchError
from capsbench.files import explained

MISTAKE, INTERRUPTED = 2, 130


@contextmanager
def reporting_errors() -> Iterator[None]:
    """A user's mistake becomes a message and an exit status; anything else keeps its traceback."""
    try:
        with explained():
            yield
    except CapsbenchError as error:
        print(f"capsbench: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print("capsbench: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
