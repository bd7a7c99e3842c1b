"""What becomes of memory that is freed: it serves the next step, or goes back to the system."""

from __future__ import annotations

import ctypes
import platform

# From <malloc.h> of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER, _GIB = -1, 1 << 30


def keep_freed_memory() -> bool:
    """Keep what this process frees, for its next allocations.

    A step on the CPU allocates its maps anew. glibc gives large blocks back to the system once they
    are freed, which then hands them out again page by page, each filled with zeros: several per
    cent of a step. Results do not change, and the peak of memory stays; what is below the peak is
    not given back before the process ends.

    Returns:
        Whether the C library is glibc; otherwise nothing is changed.
    """
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _GIB) and mallopt(_M_TRIM_THRESHOLD, _NEVER))


def return_freed_memory() -> bool:
    """Give what this process has freed back to the system, holes between used blocks too.

    After work that is done once, whose blocks have other sizes than those of a step: beside them
    the steps would raise the peak of memory.

    Returns:
        Whether the C library is glibc; otherwise nothing is done.
    """
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)
        return True
    return False


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
