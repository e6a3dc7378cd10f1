"""Settings of the process that a run works in."""

import platform
import subprocess
import sys

import pytest

CHURN = """
import ctypes, resource
from capsbench.environment import keep_freed_memory
assert keep_freed_memory({keep})
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
size = 64 * 2**20
def churn():
    block = library.malloc(size)
    ctypes.memset(block, 1, size)
    library.free(block)
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    program = [sys.executable, "-c", CHURN.format(keep=keep)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library here is not glibc")
def test_kept_memory_is_not_mapped_again_and_the_default_comes_back() -> None:
    pages = 64 * 2**20 // 4096
    assert page_faults(keep=True) < pages
    assert page_faults(keep=False) >= 4 * pages
