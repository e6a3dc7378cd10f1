"""Peak memory of an arm's training step, by the operating system's accounting, in a process that does nothing else."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection

STEPS = 3


def peak_memory(name: str, overrides: Sequence[str], batch: int) -> float:
    """Megabytes that a few steps of an arm need over what the process held before its network was built."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(sender, name, list(overrides), batch))
    child.start()
    sender.close()
    try:
        megabytes: float = receiver.recv()
    finally:
        child.join()
    return megabytes


def _measure(sender: Connection, name: str, overrides: list[str], batch: int) -> None:
    import torch

    from capsbench.bench.arms import build_arm
    from capsbench.compose import compose
    from capsbench.evaluation.cost import peak_memory_mb, reset_peak_memory
    from capsbench.training.hardware import pick_machine

    cfg = compose(overrides)
    machine = pick_machine(cfg)
    # Compilers and libraries are loaded, and have had their own peak, before the measurement starts.
    arm = build_arm(name, overrides, batch, machine)
    del arm
    reset_peak_memory(machine.device)
    before = peak_memory_mb(machine.device)
    arm = build_arm(name, overrides, batch, machine)
    arm.turn(STEPS)
    if machine.device.type == "cuda":
        torch.cuda.synchronize()
    sender.send(peak_memory_mb(machine.device) - before)
    sender.close()
