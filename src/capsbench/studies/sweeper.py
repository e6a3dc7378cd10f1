"""A sweep from its command to its exit status: what Hydra's sweeper calls."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from capsbench.compose import shipped
from capsbench.errors import CapsbenchError
from capsbench.studies.ablation_sweep import AblationSweep
from capsbench.studies.options import read_options
from capsbench.studies.search_file import load_design
from capsbench.studies.search_sweep import SearchSweep
from capsbench.studies.stopping import STOP, stopping_on_signals
from capsbench.sweep_file import Sweep

if TYPE_CHECKING:
    from hydra.types import HydraContext


def sweep(config: DictConfig, context: "HydraContext", arguments: Sequence[str]) -> None:
    """Carry out a sweep file.

    Args:
        config: Hydra's configuration of the multirun.
        context: handed on to the launcher.
        arguments: overrides for every run.

    Raises:
        CapsbenchError: for a mistake in the file or the arguments.
        KeyboardInterrupt: after a clean stop.
        SystemExit: with status 1 if a run failed.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        raise CapsbenchError("a sweep was started as part of a run on several devices; start it by itself")
    options = read_options(config)
    design = load_design(options.sweep, shipped("sweeps"), options.preset)
    overrides = [text for text in arguments if not text.lstrip("+").startswith("sweep=")]
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    if launcher == "basic" and options.workers > 1:
        raise CapsbenchError(
            f"hydra/launcher=basic has one worker, not {options.workers}; use hydra/launcher=joblib for several"
        )
    with stopping_on_signals():
        STOP.clear()
        if isinstance(design, Sweep):
            status = AblationSweep(design, overrides, options, launcher).run(config, context)
        else:
            status = SearchSweep(design, overrides, options, launcher).run(config, context)
    if STOP.is_set():
        raise KeyboardInterrupt
    if status:
        sys.exit(status)
