"""The C library's heap, set up for training on a CPU.

A step allocates and frees every activation. By default glibc takes blocks of more than 32 MiB from the system each time
and gives them back, and the system fills each new page of 4 KiB with zeros first: at 64x64 a third of a step.
"""

import ctypes
import os

# From glibc's malloc.h and Linux's mman.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MADV_HUGEPAGE = 14
HUGE_PAGE = 2 << 20
RESERVE = 8 << 30


def keep_freed_memory() -> None:
    """Lets the process keep the memory that it frees, in large pages where the system allows it.

    For the whole process, until its end; a no-op where the C library is not glibc. What is reserved is address space.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt") or not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)
    size = min(RESERVE, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes, libc.madvise.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = libc.malloc(size)
    if block is None:
        return
    start = -(-block // HUGE_PAGE) * HUGE_PAGE
    libc.madvise(start, size - HUGE_PAGE, MADV_HUGEPAGE)  # may be refused, which only costs speed
    libc.free(block)
