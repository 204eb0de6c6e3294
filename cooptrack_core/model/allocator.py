"""Memory of a process that runs a network: the C library keeps what a frame frees for the next one.

By default glibc gives large blocks back at once and asks for them again, and the system clears every page of them anew,
which on a CPU shows in the time of every frame.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

# Of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_BYTES = (1 << 30, 1 << 25)  # older versions take no more than the second
_PAD_BYTES = 1 << 24


@cache
def keep_memory() -> bool:
    """Sets it up once for the process; False where the C library is not glibc, and nothing is changed."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    if not any(mallopt(_MMAP_THRESHOLD, size) == 1 for size in _LARGEST_BYTES):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _LARGEST_BYTES[0]) == 1 and mallopt(_TOP_PAD, _PAD_BYTES) == 1)
