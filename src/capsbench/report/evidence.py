"""The runs that claims are judged by: of the sweeps that they name, from the runs' folders and committed results."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from capsbench.compose_cache import compose_or_recall
from capsbench.config import run_hash
from capsbench.report.analysis import Analysis, analyse
from capsbench.report.claim_table import CLAIMS, Claim
from capsbench.report.collect import collect
from capsbench.report.results_file import read_results_file, read_values, results_files
from capsbench.sweep_file import Sweep, load_sweep
from capsbench.sweep_yaml import find_file, read_file
from capsbench.training.runs import find_runs


def read_evidence(
    sweeps_dir: Path, root: Path, results: Path | None = None, claims: Sequence[Claim] = CLAIMS
) -> dict[str, list[Analysis]]:
    """The runs of every sweep that a claim names, the full sweep before the presets that have
    run, and those before committed results; sweeps without a file are absent.

    Args:
        sweeps_dir: folder of the sweep files.
        root: folder of all runs.
        results: folder of committed results, where runs need not be there any more.
        claims: the claims.
    """
    kept = [read_values(path) | {"path": path} for path in results_files(results).values()] if results else []
    names = {item.sweep for claim in claims for item in (*claim.evidence, *claim.also, *claim.first_look)}
    found: dict[str, list[Analysis]] = {}
    for name in sorted(names):
        if not (sweeps_dir / f"{name}.yaml").is_file():
            continue
        presets = list(map(str, read_file(find_file(name, sweeps_dir)).get("presets") or {}))
        run = [preset for preset in presets if (root / f"{name}-{preset}").is_dir()]
        designs = [load_sweep(name, sweeps_dir, preset) for preset in (None, *run)]
        committed = [
            _committed(values["path"], load_sweep(name, sweeps_dir, values["preset"]), values["overrides"])
            for values in kept
            if values["sweep"] == name and values["preset"] in (None, *presets)
        ]
        found[name] = [*(_study(design, root) for design in designs), *committed]
    return found


def _committed(path: Path, sweep: Sweep, overrides: Sequence[str]) -> Analysis:
    """Committed results without the runs of arms that the sweep file has changed since."""
    ablation = read_results_file(path)
    now = arm_hashes(sweep, overrides)
    arms = {
        name: runs if runs.hash == now.get(name) else replace(runs, planned=[], conflicting=runs.planned)
        for name, runs in ablation.arms.items()
    }
    return analyse(replace(ablation, arms=arms))


def arm_hashes(sweep: Sweep, overrides: Sequence[str] = ()) -> dict[str, str]:
    """The identity that each arm of a sweep file has now: runs of any other are of another design."""
    configs = compose_or_recall([(*sweep.overrides(arm), f"run.arm={arm}", *overrides) for arm in sweep.arms])
    return {arm: run_hash(cfg) for arm, cfg in zip(sweep.arms, configs, strict=True)}


def _study(sweep: Sweep, root: Path) -> Analysis:
    folders = find_runs(root, sweep.group)
    return analyse(collect(sweep, folders, arm_hashes(sweep) if folders else None))
