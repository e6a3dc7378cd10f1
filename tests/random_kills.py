"""Trains tiny runs that are killed from outside at random moments until they are done; run as a script.

The packages are imported once and each start is a fork, as in a sweep. This process itself computes nothing.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

ALWAYS = "trainer.checkpoint_minutes=1e-9"


def start(root: Path, *overrides: str, slow: float = 0.0) -> int:
    """A process that trains the run below `root`; it leaves with status 3 where the run is in use."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        from capsbench.errors import CapsbenchError
        from capsbench.training import train
        from capsbench.training.task import ClassificationTask
        from tiny import tiny_config

        if slow:
            real = ClassificationTask.training_step

            def training_step(self, batch, batch_idx):
                time.sleep(slow)
                return real(self, batch, batch_idx)

            ClassificationTask.training_step = training_step
        try:
            train.run(tiny_config(root, ALWAYS, *overrides))
            status = 0
        except CapsbenchError as error:
            print(error, file=sys.stderr)
            status = 3
    finally:
        sys.stderr.flush()
        os._exit(status)


def end(child: int) -> int:
    """Its exit status, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at_random(root: Path, seed: int, kills: int) -> None:
    """One run without a disturbance, and one that is killed up to `kills` times and then let go on."""
    started = time.monotonic()
    status = end(start(root / "undisturbed"))
    seconds = time.monotonic() - started
    assert status == 0, status
    draw, hits = random.Random(seed), 0
    for _ in range(kills):
        child = start(root / "killed")
        time.sleep(draw.uniform(0, 1.1 * seconds))
        os.kill(child, signal.SIGKILL)
        hits += end(child) == -signal.SIGKILL
    status = end(start(root / "killed"))
    assert status == 0, status
    print(hits)


def two_at_once(root: Path) -> None:
    """Two processes start the same run together, and a third when it is done; prints their exit statuses."""
    pair = [start(root, slow=0.05) for _ in range(2)]
    print(*[end(child) for child in pair], end(start(root)))


def main() -> None:
    from capsbench.training import train
    from tiny import tiny_splits

    train.load_splits = lambda _: tiny_splits()
    root = Path(sys.argv[1])
    if sys.argv[2:]:
        killed_at_random(root, int(sys.argv[2]), int(sys.argv[3]))
    else:
        two_at_once(root)


if __name__ == "__main__":
    main()
