"""How much slower training is with W&B than with metrics.csv alone: offline, online, and with servers that fail.

    python scripts/measure_tracking.py [--rounds 7] [--steps 200] [overrides for every run, such as model=capsnet]

Every round trains the same run once under each arm, one after the other in one process; the servers are the tests' fake
W&B backend. Prints one line of JSON: for every arm the median, over the rounds, of its training time divided by that of
`csv` in the same round. Issue 8 allows 1.02. Needs an idle machine to mean anything; the load is printed beside.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
ARMS = ("csv", "offline", "online", "hang", "500")


def train_once(root: Path, arm: str, seed: int, steps: int, overrides: list[str]) -> float:
    """Training seconds of one run, without validation, evaluation and what W&B does before and after."""
    from capsbench.compose import compose
    from capsbench.training.train import run
    from fake_wandb.server import FakeWandb

    mode = {"csv": "disabled", "offline": "offline"}.get(arm, "online")
    words = ["model=capsnet_small", "data=mnist_small", "evaluation=minimal", "trainer.compile=false",
             "trainer.progress=false", "trainer.batch_size=32", *overrides, f"trainer.steps={steps}", f"seed={seed}",
             f"run.root={root / arm}", f"logger.wandb={mode}"]  # fmt: skip
    with FakeWandb() as server:
        os.environ.update({**server.env, "WANDB_FINISH_TIMEOUT": "3", "WANDB_INIT_TIMEOUT": "10"})
        if arm in ("hang", "500"):
            server.faults["/files/"] = arm if arm == "hang" else 500
        seconds = float(run(compose(words))["metrics"]["time/train_seconds"])
        server.faults.clear()
        import wandb

        wandb.teardown()
    return seconds


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({"HOME": folder, "WANDB_DIR": folder, "WANDB_CACHE_DIR": folder, "WANDB_CONFIG_DIR": folder})
        train_once(Path(folder) / "warm", "csv", 0, 10, arguments.overrides)
        for seed in range(arguments.rounds):
            for arm in ARMS[seed % len(ARMS) :] + ARMS[: seed % len(ARMS)]:
                times[arm].append(train_once(Path(folder), arm, seed, arguments.steps, arguments.overrides))
                print(f"{arm} round {seed}: {times[arm][-1]:.2f} s", file=sys.stderr, flush=True)
    ratios = {arm: [one / base for one, base in zip(times[arm], times["csv"], strict=True)] for arm in ARMS}
    shown = {arm: {"median": round(median(each), 4), "all": [round(one, 3) for one in each]}
             for arm, each in ratios.items()}  # fmt: skip
    step = round(1000 * median(times["csv"]) / arguments.steps, 2)
    print(json.dumps({"ms_per_step": step, "load": os.getloadavg(), "ratio_to_csv": shown}))


if __name__ == "__main__":
    main()
