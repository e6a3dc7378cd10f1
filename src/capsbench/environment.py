"""Settings that native libraries read once, when they are first loaded; set before anything heavy is imported."""

import ctypes
import os
from pathlib import Path

# OpenMP threads otherwise spin at every barrier: beside another busy process a training step then takes twice as long,
# and alone it is no faster (measured on 2 cores, CNN and CapsNet steps of 30 to 500 ms).
THREADS = {"OMP_WAIT_POLICY": "passive"}

# From glibc's <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


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


def keep_freed_memory(keep: bool = True) -> bool:
    """Have this process's C library keep freed memory for the next tensor, or return large blocks as by default.

    A training step frees and allocates the same few hundred megabytes again and again. Returned to the system, every
    page is zeroed and mapped anew in each step: 37,000 page faults, 80 ms of a CapsNet step's 1,440 ms of CPU time at
    batch 128 (measured on 2 cores). The process's peak memory stays what it is; it only does not shrink in between.

    Returns:
        Whether the C library has such a setting (glibc has).
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version()
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    largest = 2**31 - 1
    trim, mapped = (largest, 0) if keep else (128 * 1024, 65536)
    return bool(mallopt(M_TRIM_THRESHOLD, trim) and mallopt(M_MMAP_MAX, mapped))
