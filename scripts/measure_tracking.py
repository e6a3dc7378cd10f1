"""How much slower training is with W&B than with metrics.csv alone: offline, online, and with a W&B that fails.

    python scripts/measure_tracking.py [--rounds 7] [--steps 200] [--arms csv offline ...] [--out results]
        [overrides for every run, such as model=capsnet]

Every round trains the same run once under each arm, one after the other in one process, each round beginning with
another arm; the server is the tests' fake W&B backend, in a process of its own. For every arm: the median over the
rounds of its time in training steps divided by that of `csv` in the same round (issue: at most 1.02), and the median of
the seconds that the whole run took longer, starting and ending W&B included. Needs an idle machine to mean anything.

    offline      no server; the default
    online       a server that works
    refused      nobody listens at the server's address
    black_hole   the server's address answers no packet
    500, hang    the server answers every row with an error, or never
    dies         the server drops every connection after the first rows
    killed       the client's own process is killed a second after it has started
"""

import argparse
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
ARMS = ("csv", "offline", "online", "refused", "black_hole", "500", "hang", "dies", "killed")
KEY = "0" * 40


def serve(pipe: "Connection", arm: str) -> None:
    """The fake backend with an arm's fault, until the other end says so."""
    from fake_wandb.server import FakeWandb

    with FakeWandb() as server:
        if arm in ("500", "hang"):
            server.faults["/files/"] = arm if arm == "hang" else 500
        if arm == "dies":
            server.rows_left = 2
        pipe.send(server.url)
        pipe.recv()
        server.faults.clear()


@contextmanager
def server_for(arm: str) -> Iterator[str]:
    """Address of the server that an arm sees."""
    with ExitStack() as stack:
        if arm in ("refused", "black_hole"):
            hole = stack.enter_context(socket.socket())
            hole.bind(("127.0.0.1", 0))  # without listening: refused
            if arm == "black_hole":
                hole.listen(0)
                for _ in range(3):  # a full queue takes no further connection
                    waiting = stack.enter_context(socket.socket())
                    waiting.setblocking(False)
                    waiting.connect_ex(hole.getsockname())
            yield f"http://127.0.0.1:{hole.getsockname()[1]}"
            return
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, arm))
        process.start()
        try:
            yield ours.recv()
        finally:
            ours.send(None)
            process.join()


def clients() -> "list[psutil.Process]":
    """W&B's own processes."""
    import psutil

    return [child for child in psutil.Process().children(recursive=True) if child.name().startswith("wandb-core")]


def kill_client(ended: threading.Event) -> None:
    """Kill W&B's own process a second after it has started."""
    while not ended.wait(0.2):
        if found := clients():
            ended.wait(1.0)
            for client in found:
                client.kill()
            return


def train_once(root: Path, arm: str, seed: int, steps: int, overrides: list[str]) -> tuple[float, float]:
    """Seconds in training steps of one run, and of the whole run."""
    from capsbench.compose import compose
    from capsbench.training.train import run
    from capsbench.training.wandb_session import stop_client

    mode = {"csv": "disabled", "offline": "offline"}.get(arm, "online")
    words = ["model=capsnet_small", "data=mnist_small", "evaluation=minimal", "trainer.compile=false",
             "trainer.progress=false", "trainer.batch_size=32", *overrides, f"trainer.steps={steps}", f"seed={seed}",
             f"run.root={root / arm}", f"logger.wandb={mode}"]  # fmt: skip
    cfg, ended = compose(words), threading.Event()
    with server_for(arm) as url:
        os.environ.update({"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_FINISH_TIMEOUT": "3"})
        killer = threading.Thread(target=kill_client, args=(ended,), daemon=True)
        if arm == "killed":
            killer.start()
        begun = time.perf_counter()
        seconds = float(run(cfg)["metrics"]["time/train_seconds"])
        whole = time.perf_counter() - begun
        ended.set()
        for client in clients():  # it would go on asking for a server that has gone, beside the next run
            client.kill()
        stop_client()
    return seconds, whole


def compared(times: dict[str, list[tuple[float, float]]], steps: int) -> dict[str, Any]:
    """Every arm beside `csv` in the same rounds."""
    base = times["csv"]
    arms = {}
    for arm, each in times.items():
        ratios = [one[0] / other[0] for one, other in zip(each, base, strict=True)]
        longer = [one[1] - other[1] for one, other in zip(each, base, strict=True)]
        arms[arm] = {
            "step_ratio": round(median(ratios), 4),
            "step_ratios": [round(ratio, 4) for ratio in ratios],
            "run_longer_seconds": round(median(longer), 2),
        }
    return {"ms_per_step": round(1000 * median(one for one, _ in base) / steps, 2), "rounds": len(base), "arms": arms}


def main() -> None:
    """Train, compare, keep."""
    from capsbench.bench.figures import Figures

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path, help="folder that keeps the figures, usually results")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    arms = list(dict.fromkeys(["csv", *arguments.arms]))
    times: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
    figures = Figures("tracking")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("HOME", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            os.environ[name] = folder
        train_once(Path(folder) / "warm", "csv", 0, 10, arguments.overrides)
        for seed in range(arguments.rounds):
            first = seed % len(arms)
            for arm in arms[first:] + arms[:first]:
                times[arm].append(train_once(Path(folder), arm, seed, arguments.steps, arguments.overrides))
                print(f"{arm} round {seed}: {times[arm][-1]}", file=sys.stderr, flush=True)
    figures.keep(compared(times, arguments.steps), arguments.out)


if __name__ == "__main__":
    main()
