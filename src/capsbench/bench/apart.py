"""An arm in a process of its own, whose C library's memory is as ports find it.

A run has freed memory kept (`environment.keep_freed_memory`), which cannot be undone in a process. Beside it a port's
layers would find their memory mapped already, and look faster than they are anywhere else.
"""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from capsbench.bench.arms import Arm, bench_machine, build_arm, timed
from capsbench.errors import CapsbenchError

TURN, EVALUATE = "turn", "evaluate"


def build_apart(name: str, overrides: Sequence[str], batch: int) -> Arm:
    """The arm that `build_arm` builds, in a process that ends with this one.

    Raises:
        CapsbenchError: as `build_arm` does, and in any turn after the process has died.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(theirs, name, list(overrides), batch), daemon=True).start()
    theirs.close()
    counts = _answer(ours, name)

    def ask(what: str, times: int) -> Any:
        return _answer(ours, name, (what, times))

    return Arm(name, lambda steps: ask(TURN, steps), lambda: ask(EVALUATE, 1), *counts)


def _answer(pipe: Connection, name: str, question: tuple[str, int] | None = None) -> Any:
    try:
        if question is not None:
            pipe.send(question)
        answer = pipe.recv()
    except (EOFError, ConnectionError):
        raise CapsbenchError(f"the process of the {name} arm has died; what it said last is above") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _serve(pipe: Connection, name: str, overrides: list[str], batch: int) -> None:
    """Build the arm, then take turns until the other end is closed."""
    try:
        machine = bench_machine(overrides)
        arm = build_arm(name, overrides, batch, machine)
    except CapsbenchError as error:
        pipe.send(error)
        return
    pipe.send((arm.parameters, arm.macs))
    while True:
        try:
            what, times = pipe.recv()
        except EOFError:
            return
        pipe.send(arm.turn(times) if what == TURN else timed(arm.evaluate, machine.device, times))
