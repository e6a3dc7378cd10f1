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
    for storage in dict.fromkeys(rate["storage"] for rate in found["rates"]):
        rates = [rate for rate in found["rates"] if rate["storage"] == storage]
        speeds = ", ".join(f"{rate['trials_per_second']:.3g}" for rate in rates)
        waits = ", ".join(f"{rate['longest_ms']:,.0f}" for rate in rates)
        largest = max(rate["bytes_per_trial"] for rate in rates)
        workers = ", ".join(f"{rate['workers']}" for rate in rates)
        yield (
            f"storage alone: {storage}, {rates[0]['trials']:,} trials, {workers} workers",
            f"{speeds} trials/s, longest wait {waits} ms, at most {largest:,} bytes a trial",
        )
    sizes = ", ".join(f"{run['model']} {run['bytes'] / 1e6:,.1f} MB" for run in found["runs"])
    yield "folder of a finished run", sizes


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
    arms = {arm.replace("_", " "): each for arm, each in found["arms"].items() if arm != "csv"}
    ratios = ", ".join(f"{arm} {each['step_ratio']:.2f}" for arm, each in arms.items())
    longest = max(each["run_longer_seconds"] for each in arms.values())
    yield (
        f"training with W&B, a step's time over that with metrics.csv alone, median of {found['rounds']} rounds",
        f"{ratios}; the whole run at most {longest:+.1f} s",
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
