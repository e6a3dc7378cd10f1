"""How many trials a second a study's storage carries, and how many bytes a run takes there and on disk.

    python scripts/measure_storage.py --out results    # a journal file, and a PostgreSQL started for it
    python scripts/measure_storage.py --workers 8 32 --storage postgresql+psycopg://USER@HOST/DATABASE

The workers are those of `capsbench sweep` with their whole traffic (queue, signs of life, taking over, telling), but
their runs end at once, so that nothing but the study is left. The rate is from the first trial's start to the last
one's end, by the storage's own times. `longest_ms` is the longest that any trial waited for its storage.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from capsbench.processes import this_process
from capsbench.studies import queue
from capsbench.studies.runner import Outcome, Runner
from capsbench.studies.spec import Spec
from capsbench.studies.study import create_study
from capsbench.studies.worker import Worker

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from optuna import Study

ARMS = 2
MODELS = ("capsnet_small", "capsnet")


class InstantRunner(Runner):
    """Runs that are done as soon as they are started."""

    def run(self, *_: Any, **__: Any) -> Outcome:
        """A result out of nothing."""
        return Outcome("done", {"test/errors": 1.0})


def work(spec: Spec, index: int, ready: "Barrier") -> None:
    """One worker process, which composes its configurations before anybody starts: that is no part of the storage."""
    worker = Worker(spec, index)
    worker.runner = InstantRunner(spec, index)
    for overrides in spec.arms.values():
        worker.runs.compose(tuple(overrides))
    ready.wait()
    worker.work()


def measure(address: str | None, workers: int, trials: int) -> dict[str, Any]:
    """Work a queue off and look at the storage's own times.

    Args:
        address: the storage; None: a journal file.
        workers: processes.
        trials: length of the queue.
    """
    with tempfile.TemporaryDirectory(prefix="capsbench-storage-") as name:
        journal = Path(name) / "study.journal"
        root = f"run.root={name}/runs"
        arms = {f"arm{n}": ("model=cnn_small", root, f"optimizer.lr={1e-3 * (1 + n)}") for n in range(ARMS)}
        spec = Spec(
            kind="ablation", folder=name, storage=address or f"journal:{journal}", study=Path(name).name,
            session="measured", program="", isolation="fork", sweeper=this_process(), cwd=name, arms=arms,
            objectives={"test/errors": "minimize"},
        )  # fmt: skip
        study = create_study(spec)
        before = size(study, journal)
        for number in range(trials):
            attributes = {queue.KEY: f"{number}", queue.ARM: f"arm{number % ARMS}", queue.SEED: number}
            study.enqueue_trial({}, user_attrs=attributes)
        context = multiprocessing.get_context("spawn")
        ready = context.Barrier(workers)
        processes = [context.Process(target=work, args=(spec, index, ready)) for index in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        ended = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
        if len(ended) != trials:
            raise RuntimeError(f"{len(ended)} trials are complete, not {trials}")
        started = [trial.datetime_start for trial in ended if trial.datetime_start]
        complete = [trial.datetime_complete for trial in ended if trial.datetime_complete]
        spans = [trial.duration.total_seconds() for trial in ended if trial.duration]
        found = {
            "storage": "journal" if address is None else address.split(":")[0],
            "workers": workers,
            "trials": trials,
            "trials_per_second": round(trials / (max(complete) - min(started)).total_seconds(), 1),
            "median_ms": round(1000 * median(spans), 1),
            "longest_ms": round(1000 * max(spans), 1),
            "bytes_per_trial": round((size(study, journal) - before) / trials),
        }
        print(json.dumps(found), flush=True)
        return found


def size(study: "Study", journal: Path) -> int:
    """Bytes that the storage takes on disk."""
    from optuna.storages import RDBStorage
    from sqlalchemy import text

    storage = getattr(study._storage, "_backend", study._storage)  # behind the cache that Optuna puts before a database
    if not isinstance(storage, RDBStorage):
        return journal.stat().st_size
    with storage.engine.connect() as connection:
        return int(connection.execute(text("select pg_database_size(current_database())")).scalar_one())


def bytes_of_a_run(model: str) -> dict[str, Any]:
    """Files of one finished run; their size does not depend on how long it trained, but for a line per epoch."""
    with tempfile.TemporaryDirectory(prefix="capsbench-storage-") as name:
        words = ["train", f"model={model}", "debug=fast", f"run.root={name}"]
        subprocess.run(
            [sys.executable, "-m", "capsbench", *words],
            cwd=name, check=True, capture_output=True,
        )  # fmt: skip
        folder = next(Path(name).rglob("result.json")).parent
        files: Counter[str] = Counter()
        for path in folder.rglob("*"):
            if path.is_file():
                files[path.relative_to(folder).parts[0]] += path.stat().st_size
        return {"model": model, "bytes": files.total(), "files": dict(files.most_common())}


def main() -> None:
    """Measure and keep."""
    from capsbench.bench.figures import Figures

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--storage", help="a PostgreSQL that runs already, instead of one started here")
    parser.add_argument("--out", type=Path, help="folder that keeps the figures, usually results")
    arguments = parser.parse_args()
    figures = Figures("storage")
    with ExitStack() as stack:
        address = arguments.storage
        if address is None:
            sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
            from studies.services import postgres

            address = stack.enter_context(postgres())
        rates = [measure(where, number, arguments.trials) for where in (None, address) for number in arguments.workers]
    figures.keep({"rates": rates, "runs": [bytes_of_a_run(model) for model in MODELS]}, arguments.out)


if __name__ == "__main__":
    main()
