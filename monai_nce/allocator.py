"""How the C library hands out memory on a CPU."""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = ["keep_freed_memory"]

# of malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3

# of a block; larger ones go back at once. Older versions of glibc refuse more than the second
LARGEST_KEPT = (256 << 20, 32 << 20)
MOST_KEPT = 1 << 30  # of what lies free at the end of the heap


def keep_freed_memory() -> bool:
    """Let this process keep large blocks that are freed, for the next ones of their kind.

    Volumes and feature maps are freed and taken again and again. glibc gives such blocks back to the system, which then
    has to find and clear every page anew: 40,000 of them for a volume of 256 x 256 x 120 from file to file. What stays
    with the process is up to 1 GiB at the end of a heap, and the gaps before it. It holds for the whole process until
    its end, so programs call it at their start, and libraries don't.

    Returns:
        Whether it was done: not with another C library, nor where the environment (``MALLOC_..._``, ``GLIBC_TUNABLES``)
        has settings of its own.
    """
    environment = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"}
    if platform.libc_ver()[0] != "glibc" or environment & os.environ.keys():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST_KEPT) and bool(mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
