"""The README's figures of training steps, written from `results/bench-<hardware>-torch<version>.json`."""

import json
from pathlib import Path
from typing import Any

from capsbench.report.concerns import hardware, packages
from capsbench.report.tables.table import markdown_table, markdown_text

NOTHING = "Not measured yet: `capsbench bench --against naive --out results` measures it."
HEADER = ("arm", "ms a step, median [quartiles]", "images/s", "evaluated/s", "s an epoch", "peak MB")


def speed_section(folder: Path) -> str:
    """A table of the newest comparison of arms; those of other machines, and those with a name, as links."""
    found = {path: json.loads(path.read_text()) for path in sorted(folder.glob("bench-*.json"))}
    unnamed = [path for path, result in found.items() if not result.get("name")]
    newest = max(unnamed, key=lambda path: found[path]["provenance"].get("finished", ""), default=None)
    links = [
        f"[{markdown_text(_about(result))}]({_link(path)})" for path, result in found.items() if path is not newest
    ]
    lines = [f"Measured besides: {'; '.join(links)}."] if links else []
    if newest is not None:
        lines = [
            f"{markdown_text(_about(found[newest]))} ([file]({_link(newest)})).",
            *lines,
            "",
            *_table(found[newest]),
        ]
    return "\n".join(lines) or NOTHING


def _table(result: dict[str, Any]) -> list[str]:
    arms = result["arms"]
    slowest = max(arms, key=lambda arm: arm["ms"])["arm"]
    speeds = result["speed_over"][slowest]
    rows = [
        [
            markdown_text(arm["arm"]),
            f"{arm['ms']:,.0f} [{arm['ms_low']:,.0f}, {arm['ms_high']:,.0f}]",
            f"{arm['images_per_second']:,.0f}",
            f"{arm['eval_images_per_second']:,.0f}",
            f"{arm['epoch_seconds']:,.0f}",
            "" if arm["peak_memory_mb"] is None else f"{arm['peak_memory_mb']:,.0f}",
            f"{speeds[arm['arm']]:.1f}",
        ]
        for arm in arms
    ]
    header = [*HEADER, f"times as fast as {markdown_text(slowest)}"]
    return markdown_table(header, rows)


def _about(result: dict[str, Any]) -> str:
    origin = result["provenance"]
    commit = str(origin.get("commit") or "unknown")[:10]
    named = f"{result['name']}: " if result.get("name") else ""
    return (
        f"{named}{hardware(origin)}, torch {packages(origin).get('torch')}, batch {result['batch']}, "
        f"{result['precision']}, {result['rounds']} rounds in turns, commit {commit}"
    )


def _link(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
