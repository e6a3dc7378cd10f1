"""What the operating system grants: processors, memory, and a folder in which runs can be kept and locked."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from capsbench.doctor.finding import Finding, ok, problem, warning
from capsbench.environment import cache_folder
from capsbench.files import write_atomic

GIBIBYTE = 1 << 30
# A run of CapsNet keeps about 250 MB (two checkpoints with Adam's moments), the quick ablation 60 MB.
LITTLE_DISK, NO_DISK = 5 * GIBIBYTE, GIBIBYTE // 2
LITTLE_MEMORY = 3 * GIBIBYTE
CGROUP, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
TRY_LOCK = """\
import fcntl, sys
with open(sys.argv[1], "r+b") as stream:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(7)
"""
HELD = 7


def processors(cgroup: Path = CGROUP) -> Finding:
    """Cores that this process may use, and what a container grants of them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = granted_cores(cgroup)
    found = f"{usable} of {os.cpu_count()} usable"
    if granted is None:
        return ok("cores", f"{found}, no further limit")
    found += f", a control group grants the time of {granted:g}"
    if granted < usable:
        advice = f"set trainer.threads={max(1, round(granted))}: more threads than granted time only wait"
        return warning("cores", found, advice)
    return ok("cores", found)


def memory(cgroup: Path = CGROUP) -> Finding:
    """Memory that is left, whichever of machine and container ends first."""
    import psutil

    available = psutil.virtual_memory().available
    found = f"{available / GIBIBYTE:.1f} GiB available"
    granted = granted_memory(cgroup)
    if granted is not None:
        found += f", a control group allows {granted / GIBIBYTE:.1f} GiB more"
        available = min(available, granted)
    if available < LITTLE_MEMORY:
        return warning("memory", found, "close other programs, or use a smaller trainer.batch_size and model")
    return ok("memory", found)


def granted_cores(cgroup: Path = CGROUP) -> float | None:
    """Cores' worth of time that this process's control groups grant; None where none sets a limit."""
    grants = []
    for group in _groups(cgroup):
        try:
            quota, period = (group / "cpu.max").read_text().split()[:2]
        except (OSError, ValueError):
            continue
        if quota.isdigit() and int(period):
            grants.append(int(quota) / int(period))
    # Version 1 of control groups has a hierarchy of its own for processors.
    quota_us, period_us = (_number(cgroup / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota_us and period_us and quota_us > 0:
        grants.append(quota_us / period_us)
    return min(grants, default=None)


def granted_memory(cgroup: Path = CGROUP) -> int | None:
    """Bytes that this process's control groups still let it take; None where none sets a limit."""
    left = []
    for group in _groups(cgroup):
        limit = _number(group / "memory.max")
        if limit is not None:
            left.append(limit - (_number(group / "memory.current") or 0))
    return min(left, default=None)


def _groups(cgroup: Path) -> list[Path]:
    """The process's own control group and all those above it, as a job of SLURM is inside several."""
    try:
        lines = OWN_GROUP.read_text().splitlines()
    except OSError:
        return [cgroup]
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    groups = [cgroup / own]
    while groups[-1] != cgroup and cgroup in groups[-1].parents:
        groups.append(groups[-1].parent)
    return groups


def runs_folder(root: Path) -> Iterator[Finding]:
    """Whether runs can be written there whole, claimed by one process alone and queued in a journal."""
    place = root.absolute()
    while not place.exists():
        place = place.parent
    where = f"{root}" if place == root.absolute() else f"{root} (to be made in {place})"
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".capsbench-doctor-", dir=place)
    except OSError as error:
        yield problem("runs", f"{where}: {error.strerror or error}", "set run.root to a folder that you may write to")
        return
    with scratch as name:
        folder = Path(name)
        write_atomic(folder / "file", "content")
        (folder / "claim").mkdir()
        yield ok("runs", f"{where}: files are written whole")
        yield _locks(folder)
    yield disk_space("disk", place)


def cache() -> Finding:
    """The folder of compiled kernels and remembered proofs."""
    folder = cache_folder()
    if folder is None:
        return warning("cache", "no home folder", "set CAPSBENCH_CACHE to a folder; without it nothing is remembered")
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return warning("cache", f"{folder} cannot be written to", "set CAPSBENCH_CACHE to a folder of your own")
    return ok("cache", str(folder))


def disk_space(name: str, folder: Path) -> Finding:
    """Room where the runs are kept."""
    free = shutil.disk_usage(folder).free
    found = f"{free / GIBIBYTE:.1f} GiB free in {folder}"
    if free < NO_DISK:
        return problem(name, found, "make room or set run.root to another disk: a run keeps up to 250 MB")
    if free < LITTLE_DISK:
        return warning(name, found, "make room before a large sweep: a run of CapsNet keeps about 250 MB")
    return ok(name, found)


def _locks(folder: Path) -> Finding:
    """Whether a lock keeps another process out, and a study's journal can be written and read back."""
    import optuna

    from capsbench.storage import open_storage

    path = folder / "lock"
    path.touch()
    with path.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        other = subprocess.run(
            [sys.executable, "-c", TRY_LOCK, str(path)], capture_output=True, timeout=60, check=False
        )
    if other.returncode != HELD:
        return problem(
            "journal",
            "this file system lets two processes hold one lock",
            "keep runs on a local disk, or give `capsbench sweep --storage postgresql+psycopg://USER@HOST/DATABASE`",
        )
    url = f"journal:{folder / 'study.journal'}"
    study = optuna.create_study(study_name="doctor", storage=open_storage(url))
    study.tell(study.ask(), 1.0)
    again = optuna.load_study(study_name="doctor", storage=open_storage(url))
    if [trial.value for trial in again.trials] != [1.0]:
        return problem("journal", "a study's journal was not read back as written", "keep runs on a local disk")
    return ok("journal", "locks keep other processes out, a study is read back as written")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
