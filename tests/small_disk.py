"""A small disk of its own, which a test can really fill (Linux, and leave to mount)."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MEGABYTE = 2**20


@contextmanager
def mounted(path: Path, size: int) -> Iterator[Path]:
    """A tmpfs of `size` bytes at `path`, taken away at the end whatever is still open on it."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@lru_cache(maxsize=1)
def can_mount() -> bool:
    """Whether this process may mount a file system."""
    if os.geteuid() != 0:
        return False
    with TemporaryDirectory() as folder:
        try:
            with mounted(Path(folder) / "disk", MEGABYTE):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


needs_small_disk = pytest.mark.skipif(not can_mount(), reason="only root may mount a small disk to fill")


def fill(disk: Path) -> Path:
    """Leave not one byte free; the file to remove again is returned."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for block in (65536, 1):
            try:
                while True:
                    file.write(bytes(block))
            except OSError:
                continue
    return ballast
