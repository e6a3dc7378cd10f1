"""A sweep of two small networks, its runs, and commands called in this process."""

import json
import sys
from pathlib import Path

from capsbench import cli
from capsbench.compose import shipped
from capsbench.studies.plan import Planned, plan
from capsbench.sweep_file import load_sweep
from tiny import CNN, RUN

SWEEP = f"""\
kind: ablation
title: Two small networks
seeds: [0, 1]
base: {json.dumps([*RUN, *CNN, "trainer.epochs=1"])}
arms:
  plain: {{label: plain, overrides: []}}
  pooled: {{label: pooled, overrides: [model.pooling=average]}}
comparisons: [[plain, pooled]]
"""


def planned(sweep: Path, root: Path | None = None) -> list[Planned]:
    """The four runs of a file that holds SWEEP."""
    return plan(load_sweep(sweep, shipped("sweeps")), [f"run.root={(root or sweep.parent) / 'runs'}"])


def capsbench(capsys, *arguments: str) -> tuple[int, str]:
    """Exit status of a command, and what it said."""
    sys.argv = ["capsbench", *arguments]
    try:
        cli.main()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    return status, shown.out + shown.err
