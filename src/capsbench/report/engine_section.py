"""The README's figures of the engine, written from `results/engine-<hardware>.json` and from nothing else."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.report.concerns import hardware
from capsbench.report.results_file import read_values, results_files
from capsbench.report.tables.table import markdown_text

KIND = "engine"
NOTHING = "Not measured yet: each `scripts/measure_*.py` says at its top how, and `--out results` keeps it."
HEADER = ("measured", "figures", "load", "commit")

Values = Mapping[str, Any]


def engine_section(folder: Path) -> str:
    """What many runs cost, machine by machine: a table of every command measured there.

    Raises:
        CapsbenchError: a file lacks a figure that it should have.
    """
    return "\n\n".join(_machine(path) for path in results_files(folder, KIND).values()) or NOTHING


def _machine(path: Path) -> str:
    measured = read_values(path)["measurements"]
    if not measured:
        raise CapsbenchError(f"{path}: no measurement is in it")
    rows = [HEADER, ("---",) * len(HEADER)]
    for command, one in measured.items():
        try:
            lines = list(SAID[one["what"]](one["figures"]))
            before, after = one["load_before"][0], one["load_after"][0]
            where, commit = hardware(one["provenance"]), str(one["provenance"]["commit"])[:10]
        except (KeyError, TypeError, IndexError) as error:
            raise CapsbenchError(f"{path}: `{command}`: {type(error).__name__}: {error}") from error
        commit += " and changes" if one["provenance"].get("dirty") else ""
        rows += [(name, figures, f"{before:.1f} to {after:.1f}", commit) for name, figures in lines]
    table = "\n".join(f"| {' | '.join(map(markdown_text, row))} |" for row in rows)
    return f"{markdown_text(where)} ([commands and all figures](results/{path.name})):\n\n{table}"


def _engine(found: Values) -> Iterator[tuple[str, str]]:
    cost, workers = found["cost_ms"], _number(found["workers"], "worker")
    how = f"{found['sampler']} search" if found["kind"] == "search" else "ablation"
    yield (
        f"{how} of {found['runs']:,} runs that only sleep, {workers}, {found['storage']}",
        f"{cost['median']:.0f} ms of engine a run (first tenth {cost['first_tenth']:.0f}, last tenth "
        f"{cost['last_tenth']:.0f}); status {found['status_seconds']:.1f} s, a start with nothing to do "
        f"{found['start_with_nothing_to_do_seconds']:.1f} s",
    )


def _storage(found: Values) -> Iterator[tuple[str, str]]:
    for rate in found["rates"]:
        yield (
            f"storage alone: {rate['storage']}, {_number(rate['workers'], 'worker')}, {rate['trials']:,} trials",
            f"{rate['trials_per_second']:.4g} trials/s, {rate['bytes_per_trial']:,} bytes a trial, longest wait "
            f"{rate['longest_ms']:,.0f} ms",
        )
    for run in found["runs"]:
        yield f"folder of a finished run: {run['model']}", f"{run['bytes'] / 1e6:,.1f} MB"


def _many_runs(found: Values) -> Iterator[tuple[str, str]]:
    timed = {name: each for name, each in found.items() if name != "runs"}
    said = ", ".join(f"{name} {each['seconds']:.1f} s" for name, each in timed.items())
    peak = max(each["peak_mb"] for each in timed.values())
    yield f"commands on {found['runs']:,} run folders", f"{said}; at most {peak:,} MB"


def _growth(found: Values) -> Iterator[tuple[str, str]]:
    growth, handles = found["growth_per_run"], [sample["handles"] for sample in found["samples"]]
    yield (
        f"{found['runs']:,} runs in one process",
        f"{growth['megabytes']:+.4f} MB in use and {growth['objects']:+.1f} objects a run; file handles from "
        f"{handles[0]} to {handles[-1]}",
    )


def _tracking(found: Values) -> Iterator[tuple[str, str]]:
    for arm, each in found["arms"].items():
        if arm != "csv":
            yield (
                f"training with W&B {arm.replace('_', ' ')} beside metrics.csv alone, {found['rounds']} rounds",
                f"steps take {each['step_ratio']:.3f} times as long; the whole run {each['run_longer_seconds']:+.1f} s",
            )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


SAID: dict[str, Callable[[Values], Iterator[tuple[str, str]]]] = {
    "engine": _engine,
    "storage": _storage,
    "many_runs": _many_runs,
    "growth": _growth,
    "tracking": _tracking,
}
