"""How the C library hands out large blocks of memory."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_large_blocks() -> None:
    """Let freed blocks be used again instead of going back to the system.

    glibc maps every large block anew and gives it back at once, so each tensor of each step is touched page by page
    for the first time: a third of a training step on a CPU is the kernel clearing pages. With this, a process keeps the
    memory of its peak. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)
    # Other threads' own arenas hold no large blocks, so that those would be mapped all the same.
    mallopt(_M_ARENA_MAX, 1)
