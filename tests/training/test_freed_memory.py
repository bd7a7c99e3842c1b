"""Memory that is freed serves the next step, or goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Allocates and frees 256 MiB, twice, and prints the page faults of the second time.
TWICE = """
import ctypes, resource
from tutelage.training.freed_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(256 << 20)
    ctypes.memset(block, 0, 256 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

# Frees 128 MiB of small blocks below one that is in use, and prints resident pages: before, after.
RETURNED = """
import ctypes
from tutelage.training.freed_memory import keep_freed_memory, return_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1])
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(1 << 16) for _ in range(2048)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 16)
for block in blocks[:-1]:
    libc.free(block)
before = resident()
assert return_freed_memory()
print(before, resident())
"""


def page_faults(*, keep: bool) -> int:
    code = TWICE.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again() -> None:
    assert page_faults(keep=True) < 100 < page_faults(keep=False)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_given_back_below_a_block_in_use() -> None:
    command = [sys.executable, "-c", RETURNED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before - after > 100 * 256  # MiB, in pages of 4 KiB
