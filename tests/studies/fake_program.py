"""A program that stands in for training: instructions in `run.notes`, a line in `executions` for every start and end.

`seconds=0.5 steps=5 hold=1 raise=b/1 kill=a/0 late=a/0 ignore_sigterm=1`: the run lasts `seconds` in `steps` steps,
each kept in last.ckpt; it raises or kills itself (once, at half its length) where the arm and seed match. With `hold`
it waits after each step until the test has written runs/go; with `late` the run that matches waits for runs/late
before it claims its folder.
"""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

from capsbench.compose import compose
from capsbench.config import Config
from capsbench.files import write_atomic
from capsbench.training.identity import evaluation_digest, is_done
from capsbench.training.runs import Claim, run_folder, run_record


def warm_up() -> None:
    pass


def main() -> None:
    from capsbench.processes import die_with_parent

    die_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    execute(compose(sys.argv[1:]))


def execute(cfg: Config) -> None:
    orders = dict(word.split("=") for word in cfg.run.notes.split())
    path, name = run_folder(cfg).path, f"{cfg.run.arm}/{cfg.seed}"
    if orders.get("ignore_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if orders.get("late") == name:
        note(cfg, "come", name)
        wait_for(Path(cfg.run.root) / "late")
    with Claim(path):
        if is_done(run_folder(cfg), cfg):  # as training does
            return
        note(cfg, "start", name)
        (path / "failed.json").unlink(missing_ok=True)
        try:
            work(cfg, path, name, orders)
        except Exception as error:
            write_atomic(path / "failed.json", json.dumps({"schema": 1, "state": "failed", "error": str(error)}))
            raise
        note(cfg, "end", name)


def work(cfg: Config, path: Path, name: str, orders: dict[str, str]) -> None:
    steps = int(orders.get("steps", 1))
    checkpoint = path / "last.ckpt"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    note(cfg, f"from {first}", name)
    for step in range(first, steps):
        time.sleep(float(orders.get("seconds", 0.01)) / steps)
        write_atomic(checkpoint, str(step + 1))
        if orders.get("hold"):
            wait_for(Path(cfg.run.root) / "go")
        if orders.get("raise") == name:
            raise ValueError("asked to fail")
        mark = path / "killed"
        if orders.get("kill") == name and 2 * (step + 1) >= steps and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    write_result(cfg, path)


def write_result(cfg: Config, path: Path) -> None:
    loss = value(cfg)
    metrics = {"test/accuracy": 0.9, "test/errors": 1000, "val/loss": loss, "val/accuracy": 1 - loss / 100,
               "time/train_seconds": 0.1, "time/wall_seconds": 0.1, "cost/parameters": 1e6 / (0.1 + loss)}  # fmt: skip
    result = {"schema": 1, "state": "done", "run": run_record(cfg), "metrics": metrics, "test_images": 10000,
              "threads": cfg.trainer.threads, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
              "evaluation": evaluation_digest(cfg)}  # fmt: skip
    write_atomic(path / "result.json", json.dumps(result))


def value(cfg: Config) -> float:
    """A bowl in log10 of the learning rate and the decay, a little different for every seed."""
    return (math.log10(cfg.optimizer.lr) + 2.5) ** 2 + 4 * (cfg.optimizer.decay - 0.9) ** 2 + 0.001 * cfg.seed


def wait_for(mark: Path) -> None:
    while not mark.exists():
        time.sleep(0.02)


def note(cfg: Config, what: str, name: str) -> None:
    line = f"{what} {name} {os.getpid()}\n"
    handle = os.open(Path(cfg.run.root) / "executions", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, line.encode())
    os.close(handle)


if __name__ == "__main__":
    main()
