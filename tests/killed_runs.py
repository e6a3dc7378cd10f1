"""Trains the same tiny run once for every way to die in `DEATHS`, each in a process that kills itself with SIGKILL.

Run as a script with a folder for the runs. The packages are imported once and each run is a fork, as in a sweep.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

AT_STEP = 7


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_step(at: int = AT_STEP) -> None:
    from capsbench.training.task import ClassificationTask

    real = ClassificationTask.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == at:
            die()
        return real(self, batch, batch_idx)

    ClassificationTask.training_step = training_step


def before_the_first_checkpoint() -> None:
    in_a_step(0)


def while_a_checkpoint_is_written() -> None:
    """Half of the file is on disk under its temporary name."""
    from capsbench import files

    real, written = files._flush_to_disk, []

    def flush(path):
        if path.name.startswith(".last."):
            written.append(path)
            if len(written) == AT_STEP:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
                die()
        real(path)

    files._flush_to_disk = flush


def between_best_and_last() -> None:
    """At the end of the second epoch, whose weights are in best.ckpt already."""
    from capsbench.training.callbacks.checkpoints import Checkpoints

    real = Checkpoints.on_train_epoch_end

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.save_last = lambda *_: die()
        real(self, trainer, pl_module)

    Checkpoints.on_train_epoch_end = on_train_epoch_end


def while_validating() -> None:
    from capsbench.training.task import ClassificationTask

    real = ClassificationTask.validation_step

    def validation_step(self, batch, batch_idx):
        if self.global_step > 5:
            die()
        return real(self, batch, batch_idx)

    ClassificationTask.validation_step = validation_step


def while_the_result_is_written() -> None:
    """Everything is measured and kept but result.json, which is on disk under its temporary name."""
    from capsbench import files

    real = files._flush_to_disk

    def flush(path):
        real(path)
        if path.name.startswith(".result."):
            die()

    files._flush_to_disk = flush


DEATHS: tuple[Callable[[], None], ...] = (
    in_a_step,
    before_the_first_checkpoint,
    while_a_checkpoint_is_written,
    between_best_and_last,
    while_validating,
    while_the_result_is_written,
)


def main(root: Path) -> None:
    from capsbench.training import train
    from tiny import tiny_config, tiny_splits

    train.load_splits = lambda _: tiny_splits()
    for death in DEATHS:
        child = os.fork()
        if child == 0:
            death()
            train.run(tiny_config(root / death.__name__, "trainer.checkpoint_minutes=1e-9"))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"{death.__name__}: ended with status {status} instead of being killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
