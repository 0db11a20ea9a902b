"""What the C library does with memory that is given back: kept for the next image, or returned.

glibc returns large blocks to the system, which hands out new pages for the next one, at the cost of
a fault each: a third of the time of writing photographs. This is for processes of our own alone,
never for one that somebody imports dsmanager into.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 128 << 20
_LARGEST_BLOCK_BYTES = 32 << 20  # that glibc lets be kept


def keep_freed_memory() -> None:
    """Up to 128 MiB that were freed stay with this process, where its C library is glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
