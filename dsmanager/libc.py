"""Calls of Linux's C library that Python does not offer; elsewhere they do nothing.

Loading it takes a tenth of what a listing takes, so it is imported where it is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

__all__ = [
    "adopt_orphans",
    "begin_writeback",
    "exchange",
    "keep_freed_memory",
    "reserve",
    "signal_at_parents_death",
    "syncfs",
]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_SYNC_FILE_RANGE_WRITE = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 128 << 20
_LARGEST_BLOCK_BYTES = 32 << 20  # that glibc lets be kept


def begin_writeback(descriptor: int) -> None:
    """Has the disk begin with what was written to a file; never waits for it."""
    if (begin := _function("sync_file_range")) is not None:
        begin(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def syncfs(folder: Path) -> bool:
    """Puts the whole file system of ``folder`` on disk; False where the system cannot.

    Raises OSError when the disk could not take all of it.
    """
    call = _function("syncfs")
    if call is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call(descriptor) == 0:
            return True
        code = ctypes.get_errno()
    finally:
        os.close(descriptor)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        raise OSError(code, os.strerror(code), str(folder))
    return False


def reserve(descriptor: int, offset: int, size_bytes: int) -> None:
    """Asks the file system for room ahead of writing; the file grows to that size."""
    if (fallocate := _function("fallocate")) is not None:
        fallocate(descriptor, 0, ctypes.c_int64(offset), ctypes.c_int64(size_bytes))


def exchange(first: Path, second: Path) -> bool:
    """Swaps two paths atomically; False where the system or the file system cannot."""
    rename = _function("renameat2")
    if rename is None:
        return False
    arguments = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if rename(*arguments) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):  # EPERM: some sandboxes
        return False
    raise OSError(code, os.strerror(code), str(second))


def keep_freed_memory() -> None:
    """Up to 128 MiB that were freed stay with this process, where its C library is glibc.

    glibc returns large blocks to the system, which hands out new pages for the next one, at the
    cost of a fault each: a third of the time of writing photographs. This is for processes of our
    own alone, never for one that somebody imports dsmanager into.
    """
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def signal_at_parents_death(number: int) -> None:
    """Has the signal sent to this process, not to its forks, when the thread it is from ends."""
    if (prctl := _function("prctl")) is not None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """Makes this process, and not init, the next parent of those below it whose own ends."""
    if (prctl := _function("prctl")) is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@lru_cache
def _function(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)
