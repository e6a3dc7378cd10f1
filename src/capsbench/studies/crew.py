"""The workers of a sweep: launched through Hydra, and launched again where they die before everything is done."""

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from capsbench.errors import CapsbenchError
from capsbench.studies import queue
from capsbench.studies.ledger import Ledger
from capsbench.studies.spec import Spec
from capsbench.studies.stopping import STOP
from capsbench.studies.worker import WorkerTask

if TYPE_CHECKING:
    from hydra.types import HydraContext
    from optuna import Study

WAIT_SECONDS = 1.0
log = logging.getLogger(__name__)


def work_off(study: "Study", spec: Spec, workers: int, config: DictConfig, context: "HydraContext") -> None:
    """Launch workers until nothing is left, taking over what lost workers leave.

    Raises:
        CapsbenchError: if workers keep ending without having finished anything.
    """
    idle, ledger = 0, Ledger(study)
    while not STOP.is_set():
        queue.reap(ledger, grace=spec.grace, max_retries=spec.max_retries)
        waiting, running = left(ledger, spec)
        if not waiting and not running:
            return
        if not waiting:  # another sweep works on this study
            STOP.wait(WAIT_SECONDS)
            continue
        before = ended(ledger)
        error = launch(spec, min(workers, waiting), config, context)
        limit = spec.max_failures
        if limit is not None and len(queue.failures(ledger, spec.session)) > limit:
            print(f"stopped: more than {limit} runs failed", file=sys.stderr)
            return
        idle = idle + 1 if ended(ledger) == before else 0
        if error is not None and not STOP.is_set():
            log.warning("a worker was lost (%s); its run is taken over", str(error).strip().splitlines()[:1])
        if idle > spec.max_retries and not STOP.is_set():
            raise CapsbenchError(
                f"workers end without finishing anything: {error or 'see the files in ' + spec.folder + '/workers'}"
            )
        if idle:
            time.sleep(WAIT_SECONDS)


def left(ledger: Ledger, spec: Spec) -> tuple[int, int]:
    """How many runs or trials wait to be started, and how many are running."""
    ledger.look()
    running = len(ledger.running)
    if spec.kind == "ablation":
        return len(ledger.waiting), running
    if "exhausted" in ledger.study.user_attrs:
        return 0, running
    return max(0, spec.total - ledger.counted - running), running


def ended(ledger: Ledger) -> int:
    """Trials that ended with a result or a failure of their own."""
    ledger.look()
    return ledger.counted + sum(queue.ERROR in ledger.trials[number].user_attrs for number in ledger.failed)


def launch(spec: Spec, workers: int, config: DictConfig, context: "HydraContext") -> Exception | None:
    """Start workers through Hydra's launcher and wait for them.

    Returns:
        What went wrong with a worker, if anything; the study knows what is done.
    """
    from hydra.core.plugins import Plugins
    from hydra.core.utils import JobStatus

    with open_dict(config):
        config.hydra.sweep.dir = str(Path(spec.folder) / "workers")
        if "n_jobs" in config.hydra.launcher:
            config.hydra.launcher.n_jobs = workers
    for name in ("hydra", "hydra_plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)
    task: Any = WorkerTask(spec)
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    try:
        folder = f"hydra.sweep.dir='{config.hydra.sweep.dir}'"
        for job in launcher.launch([[folder, "hydra.sweep.subdir=."] for _ in range(workers)], initial_job_idx=0):
            # Reading return_value would raise a worker's own error, below a line of Hydra's about overrides.
            if job.status is JobStatus.FAILED:
                error: Exception = job._return_value
                return error
    except Exception as raised:
        return raised
    return None
