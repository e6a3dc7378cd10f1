"""Settings that native libraries read once, when they are first loaded; set before anything heavy is imported."""

import os
from pathlib import Path

# OpenMP threads otherwise spin at every barrier: beside another busy process a training step then takes twice as long,
# and alone it is no faster (measured on 2 cores, CNN and CapsNet steps of 30 to 500 ms).
THREADS = {"OMP_WAIT_POLICY": "passive"}


def cache_folder() -> Path | None:
    """`$CAPSBENCH_CACHE`, else `$XDG_CACHE_HOME/capsbench`, else `~/.cache/capsbench`; None without a home."""
    own = os.environ.get("CAPSBENCH_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification has relative paths ignored.
    if shared and Path(shared).is_absolute():
        return Path(shared) / "capsbench"
    try:
        return Path.home() / ".cache" / "capsbench"
    except RuntimeError:
        return None


def prepare_environment() -> None:
    """Set what the user has not set: how threads wait, and where compiled kernels are kept between runs."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    cache = cache_folder()
    if cache is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
