"""The W&B mirror of a run: one W&B run per run, offline unless asked, and never able to hurt the training.

metrics.csv and result.json are the record; W&B shows it. Whatever W&B does (dies, refuses, fills the disk) is said once
in one warning, and `capsbench sync` uploads what is missing from the run's folder later.
"""

import importlib.util
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsbench.config import Config, WandbMode
from capsbench.training.wandb_attempts import STEP_KEY, find_attempts
from capsbench.training.wandb_file import read_run
from capsbench.training.wandb_session import (
    first_line,
    open_run,
    quiet_environment,
    quiet_logging,
    stop_client,
    wanted_mode,
    without_secrets,
)

if TYPE_CHECKING:
    import wandb
    from numpy.typing import ArrayLike

    from capsbench.training.wandb_logger import WandbLogger

LONGEST_ID = 128
LONGEST_TAG = 64
VERIFY_SECONDS = 5.0

log = logging.getLogger(__name__)


def start_tracking(
    folder: Path, cfg: Config, run: dict[str, Any], resolved: dict[str, Any], resumed: bool
) -> "Tracker | None":
    """Open the W&B run that mirrors a run.

    Args:
        folder: the run's folder; everything W&B writes goes to its `wandb/`.
        cfg: `cfg.logger` says whether and where.
        run: `id`, `group`, `arm`, `seed` and `hash`, as in result.json.
        resolved: the whole configuration as plain values; passwords in it are left out of W&B.
        resumed: whether the run continues after a checkpoint. It then keeps its W&B run id, so that an upload makes one
            run of all its parts. A run begun afresh gets a new id and never mixes with what was uploaded before.

    Returns:
        The tracker; None where W&B is disabled, not installed or cannot write, and on every process but the first of a
        distributed run.
    """
    mode = wanted_mode(cfg.logger.wandb)
    if mode is WandbMode.disabled or not _is_first_process():
        return None
    if importlib.util.find_spec("wandb") is None:
        log.warning("wandb is not installed, so this run is not mirrored to W&B: install it, or set logger=csv")
        return None
    attempts = find_attempts(folder) if resumed else []
    run_id = attempts[-1].run_id if attempts else new_run_id(run)
    environment = ExitStack()
    environment.enter_context(quiet_environment({"WANDB_DATA_DIR": str(folder / "wandb" / "data")}))
    environment.enter_context(quiet_logging())
    try:
        wandb_run = open_run(
            folder,
            mode,
            resumed=bool(attempts),
            init={
                "id": run_id,
                "name": f"{run['arm']}-s{run['seed']:02d}",
                "project": cfg.logger.project,
                "entity": cfg.logger.entity,
                "group": run["group"],
                "job_type": "train",
                "tags": _tags(run, resolved),
                "notes": cfg.run.notes or None,
                "config": without_secrets({**resolved, "arm": run["arm"], "hash": run["hash"]}),
            },
        )
    except Exception as error:  # tracking must never stop a run
        environment.close()
        log.warning("W&B could not be started (%s): this run is not mirrored to it", first_line(error))
        return None
    return Tracker(wandb_run, environment)


def new_run_id(run: dict[str, Any]) -> str:
    """A W&B run id that names the run and that no earlier start of it, here or elsewhere, can have used."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{run['group']}-{run['id']}")
    return f"{name[: LONGEST_ID - 7]}-{secrets.token_hex(3)}"


class Tracker:
    """An open W&B run. Its methods never raise."""

    def __init__(self, wandb_run: "wandb.Run", environment: ExitStack) -> None:
        self.wandb_run = wandb_run
        self.environment = environment
        self.run_id = str(wandb_run.id)
        self.file = Path(wandb_run.settings.sync_file)
        # An online run that was resumed: what the server has already is not sent again.
        self.first_step = int(wandb_run.starting_step)
        self.step = -1
        self.rows = 0
        self.lost = False
        self._guarded(lambda: wandb_run.define_metric(STEP_KEY, hidden=True))
        self._guarded(lambda: wandb_run.define_metric("*", step_metric=STEP_KEY, step_sync=True))

    @cached_property
    def logger(self) -> "WandbLogger":
        """What `Trainer(logger=[...])` takes."""
        from capsbench.training.wandb_logger import WandbLogger

        return WandbLogger(self)

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Log metrics of a step; those of one step make one row. A step below the last one joins the last row."""
        if step < self.first_step:
            return
        if step > self.step:
            self.step = step
            self.rows += 1
        self._guarded(lambda: self.wandb_run.log({**metrics, STEP_KEY: self.step}, step=self.step))

    def log_pictures(self, name: str, images: "ArrayLike", captions: Sequence[str], step: int) -> None:
        """Log pictures as one panel.

        Args:
            name: the panel's key.
            images: uint8 array or tensor of shape (N, C, H, W), C being 1 or 3.
            captions: one text per picture.
            step: optimiser step.
        """
        if self.lost:
            return
        try:
            pictures = _pictures(images, captions)
        except Exception as error:  # a picture that cannot be made costs only itself
            log.warning("pictures %s of step %d are not in W&B (%s)", name, step, first_line(error))
            return
        self.log({name: pictures}, step)

    def log_summary(self, values: dict[str, Any]) -> None:
        """Set the final numbers that tables and reports of W&B show."""
        self._guarded(lambda: self.wandb_run.summary.update(values))

    def finish(self, exit_code: int) -> None:
        """Close the run, and warn in one line if W&B's file did not keep all that was logged.

        Args:
            exit_code: 0 for a run that is done; W&B shows any other as failed.
        """
        with self.environment:
            self._guarded(lambda: self.wandb_run.finish(exit_code=exit_code))
            if self.lost:
                stop_client()
                return
        problem = self._incomplete()
        if problem:
            self._lose(problem)

    def _incomplete(self) -> str:
        """What the file lacks. It may be some milliseconds behind the end of the run."""
        deadline = time.monotonic() + VERIFY_SECONDS
        while True:
            try:
                kept = read_run(self.file)
            except Exception as error:  # a damaged file is a finding here
                return first_line(error)
            if kept.exit_code is not None and len(kept.history) >= self.rows:
                return ""
            if time.monotonic() > deadline:
                ended = "" if kept.exit_code is not None else " and no end"
                return f"{self.file} has {len(kept.history)} of {self.rows} rows{ended}"
            time.sleep(0.01)

    def _guarded(self, call: Callable[[], object]) -> None:
        if self.lost:
            return
        try:
            call()
        except Exception as error:  # a dead W&B must never end the training
            self._lose(first_line(error))

    def _lose(self, problem: str) -> None:
        self.lost = True
        log.warning(
            "W&B stopped taking run %s (%s). Nothing is lost: metrics.csv and result.json are complete, and "
            "`capsbench sync` uploads the run later",
            self.run_id,
            problem,
        )


def _pictures(images: "ArrayLike", captions: Sequence[str]) -> list[Any]:
    import numpy as np
    import wandb

    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or len(captions) != len(pixels):
        raise ValueError(
            f"pictures are uint8 of shape (N, C, H, W) with N captions, "
            f"not {pixels.dtype} {pixels.shape} with {len(captions)} captions"
        )
    return [
        wandb.Image(image[0] if len(image) == 1 else image.transpose(1, 2, 0), caption=caption)
        for image, caption in zip(pixels, captions, strict=True)
    ]


def _tags(run: dict[str, Any], resolved: dict[str, Any]) -> list[str]:
    from capsbench.training.provenance import code_state

    names = [run["arm"], code_state().get("describe"), (resolved.get("model") or {}).get("name")]
    return list(dict.fromkeys(str(name)[:LONGEST_TAG] for name in names if name))


def _is_first_process() -> bool:
    # Lightning sets the rank on this function; asking it costs no import of Lightning.
    from lightning_utilities.core.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0
