"""What it takes to get a report's numbers again: the commands to paste, and where the runs were made."""

import shlex

from capsbench.report.collect import Ablation
from capsbench.report.concerns import commits, hardware, packages
from capsbench.sweep_file import Sweep

# What needs no fetching: it comes with the package, or is the user's own.
AT_HAND = ("mnist", "folder")


def sweep_words(sweep: Sweep) -> str:
    """What stands behind `capsbench sweep` and `capsbench report` to name this sweep: file, preset, overrides."""
    preset = ["--preset", sweep.preset] if sweep.preset else []
    return shlex.join([sweep.file or sweep.name, *preset, *sweep.extra])


def rebuild(ablation: Ablation) -> list[str]:
    """Commands that install the code, run the sweep and write the report, to be pasted into a shell."""
    words, runs = sweep_words(ablation.sweep), ablation.done
    known = [commit for commit in commits(runs) if commit != "unknown"]
    lines = []
    if known:
        lines += [f"git checkout {shlex.quote(known[0])}", "pip install --constraint constraints.txt ."]
    elif runs and (version := runs[0].provenance.get("capsbench")):
        lines.append(f"pip install {shlex.quote(f'capsbench=={version}')}")
    names = dict.fromkeys(str((run.config.get("data") or {}).get("name") or "mnist") for run in runs)
    fetched = [name for name in names if name not in AT_HAND]
    if fetched:
        lines.append(f"capsbench data fetch {shlex.join(fetched)}")
    return [*lines, f"capsbench sweep {words}", f"capsbench report {words}"]


def reproduction(ablation: Ablation) -> list[tuple[str, str]]:
    """Seeds, commits, hardware and versions behind a report."""
    runs = ablation.done
    facts = [("seeds", ", ".join(map(str, ablation.sweep.seeds)))]
    if not runs:
        return facts
    dirty = any(run.provenance.get("dirty") for run in runs)
    facts.append(("commit", ", ".join(commits(runs)) + (" (with uncommitted changes)" if dirty else "")))
    facts.append(("hardware", "; ".join(dict.fromkeys(hardware(run.provenance) for run in runs))))
    facts.append(("platform", "; ".join(_distinct(ablation, "platform"))))
    versions = {
        "python": "; ".join(_distinct(ablation, "python")),
        "capsbench": "; ".join(_distinct(ablation, "capsbench")),
    }
    for run in runs:
        versions |= packages(run.provenance)
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)))
    started, finished = _distinct(ablation, "started"), _distinct(ablation, "finished")
    if started and finished:
        facts.append(("run between", f"{min(started)} and {max(finished)}"))
    return [(name, value) for name, value in facts if value]


def _distinct(ablation: Ablation, key: str) -> list[str]:
    return list(dict.fromkeys(str(run.provenance[key]) for run in ablation.done if run.provenance.get(key)))
