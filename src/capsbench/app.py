"""The Hydra application behind `capsbench train`: one run, or with `-m` several.

`python -m capsbench.app key=value ...` is the same as `capsbench train key=value ...`; that is how Lightning starts the
other processes of a run on several devices, and how a study starts its trials. Nothing heavy is imported before the
configuration is composed.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from capsbench.compose import explain, register_schema, shipped, typed
from capsbench.config import Config
from capsbench.environment import prepare_environment
from capsbench.errors import CapsbenchError
from capsbench.processes import PARENT, die_with_parent
from capsbench.reporting import reporting_errors
from capsbench.sweep_yaml import available_sweeps


class PastHydra(BaseException):
    """Carries a user's mistake through Hydra, which prints lines of its own above every Exception."""

    def __init__(self, mistake: CapsbenchError) -> None:
        super().__init__(mistake)
        self.mistake = mistake


def task(cfg: DictConfig) -> None:
    """Run one composed configuration."""
    try:
        execute(typed(cfg))
    except CapsbenchError as mistake:
        raise PastHydra(mistake) from mistake


def execute(config: Config) -> None:
    """Carry out one run and say how it ended."""
    from capsbench.training.memory import lack_of_memory_explained
    from capsbench.training.summary import run_line
    from capsbench.training.train import run

    # Lightning would start further ranks by `python -m` and the module that was started, which in `python -m capsbench`
    # wants a command first; without a module's name it runs argv[0].
    sys.modules["__main__"].__spec__ = None
    # Hydra has set up its own format, with its name in front of every line.
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    with lack_of_memory_explained():
        result = run(config)
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print(run_line(result) if result["state"] == "done" else f"pruned after epoch {result['epoch'] + 1}")


def warm_up() -> None:
    """Import what every run needs, in a process that runs are forked from."""
    import capsbench.training.train

    del capsbench.training.train


def register_sweeps() -> None:
    """Make every file of sweeps/ an option of a group, so that `-m +sweep=NAME` chooses our sweeper and the file."""
    store = ConfigStore.instance()
    for name in available_sweeps(shipped("sweeps")):
        defaults = [{"override /hydra/sweeper": "capsbench_study"}, {"override /hydra/hydra_logging": "none"}]
        node = {"defaults": defaults, "hydra": {"sweeper": {"sweep": name}}}
        store.store(group="sweep", name=name, node=node, package="_global_")


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand the arguments to Hydra.

    Raises:
        CapsbenchError: for an unknown key, a wrong value or an impossible combination.
    """
    prepare_environment()
    register_schema()
    register_sweeps()
    if PARENT in os.environ or os.environ.get("LOCAL_RANK", "0") != "0":
        die_with_parent()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Hydra then raises its errors instead of printing them, so that they can be said in this package's words.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    words = sys.argv[1:] if arguments is None else arguments
    # Lightning starts further ranks by running argv[0] with these arguments again. Hydra takes its flags before all
    # overrides or after them; a user puts -m anywhere.
    sys.argv = [__file__, *sorted(words, key=lambda word: word not in ("-m", "--multirun"))]
    application = hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")(task)
    try:
        application()
    except PastHydra as passed:
        raise passed.mistake from passed.mistake.__cause__
    except (HydraException, OmegaConfBaseException) as error:
        raise CapsbenchError(explain(error)) from error


if __name__ == "__main__":
    with reporting_errors():
        main()
