"""Locks between processes: one works, the other waits and says for whom.

``flock`` on a small file that names its holder. The kernel drops the lock when the holder dies, and
the descriptor is not inherited by children, so that no lock outlives its work. Threads of one
process exclude each other as well.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsmanager.errors import from_os_error
from dsmanager.progress import CancelToken, Progress
from dsmanager.text import plain

__all__ = ["held_by", "locked"]

_POLL_S = 0.1


@contextmanager
def locked(
    path: Path, *, purpose: str, progress: Progress | None = None, cancel: CancelToken | None = None
) -> Iterator[None]:
    """Holds the lock file ``path`` (named ``*.lock``) while the block runs.

    ``purpose`` is what others are told, such as ``build digit:1.0.8``. Waits as long as it takes;
    notes once on ``progress`` for whom. Raises CancelledError when ``cancel`` is set meanwhile.
    """
    cancel = cancel or CancelToken()
    descriptor = _try_lock(path)
    said = False
    while descriptor is None:
        if not said and progress is not None:
            progress.note(f"waiting for {held_by(path) or 'another process'}")
            said = True
        cancel.wait(_POLL_S)
        descriptor = _try_lock(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode(), 0)
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def held_by(path: Path) -> str | None:
    """Who holds ``path``, as "process 123 (build digit:1.0.8)"; None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        holder = os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip()
        pid, _, purpose = holder.partition(" ")
        return plain(f"process {pid} ({purpose})") if purpose else "another process"
    finally:
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    """Returns a locked descriptor, or None while somebody else holds the lock."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise from_os_error(error, "lock the data dir") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        # The holder removes the file before it lets go: a lock on a removed file excludes nobody.
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        os.close(descriptor)
