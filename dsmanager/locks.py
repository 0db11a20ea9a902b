"""Locks between processes: one works, the other waits and says for whom.

``flock`` on a small file that names its holder. The kernel drops the lock when the holder dies, and
children, forked or spawned, do not inherit it, so that no lock outlives its work. Threads of one
process exclude each other as well.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsmanager.errors import os_errors
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import is_version
from dsmanager.text import plain

__all__ = ["held_by", "is_alive", "locked", "locked_if_free", "remove_dead_locks"]

_POLL_S = 0.1
_held: set[int] = set()
"""Descriptors of the locks that this process holds."""


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
        if not said and progress is not None and (holder := held_by(path)):
            progress.note(f"waiting for {holder}")
            said = True
        cancel.wait(_POLL_S)
        descriptor = _try_lock(path)
    with _holding(descriptor, path, purpose):
        yield


@contextmanager
def locked_if_free(path: Path, *, purpose: str) -> Iterator[bool]:
    """As :func:`locked` where nobody holds ``path``; else yields False at once, without it."""
    descriptor = _try_lock(path)
    if descriptor is None:
        yield False
        return
    with _holding(descriptor, path, purpose):
        yield True


@contextmanager
def _holding(descriptor: int, path: Path, purpose: str) -> Iterator[None]:
    """Names the holder in the locked file, and removes the file before it lets go."""
    _held.add(descriptor)
    try:
        # A full disk forgets the name, not the lock: ``rm`` must work there.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode("utf-8", "replace"), 0)
        yield
    finally:
        if descriptor in _held:  # and not in a forked child, which holds nothing
            if _is_at(descriptor, path):
                with suppress(OSError):
                    path.unlink()
            _held.discard(descriptor)
            os.close(descriptor)


def remove_dead_locks(folder: Path) -> None:
    """Removes the lock files of refs and manifest that killed processes left in ``folder``.

    Held ones stay, and so do files of other programs, such as ``uv.lock``.
    """
    for path in folder.glob("*.lock"):
        if path.name != "datasets.json.lock" and not is_version(path.stem.rpartition("__")[2]):
            continue
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):  # it may be another's by now
                path.unlink()
        os.close(descriptor)


def held_by(path: Path) -> str | None:
    """Who holds ``path``, as "process 123 (build digit:1.0.8)"; None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        holder = os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip()
        pid, _, purpose = holder.partition(" ")
        return plain(f"process {pid} ({purpose})") if purpose else "another process"
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number, anybody's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _try_lock(path: Path) -> int | None:
    """Returns a locked descriptor, or None while somebody else holds the lock."""
    while True:
        with os_errors(f"lock {path.name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if isinstance(error, BlockingIOError):
                    return None
                raise
        # The holder removes the file before it lets go: a lock on a removed file excludes nobody.
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one that ``path`` names."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _let_go_in_child() -> None:
    """A forked child shares the kernel's lock until it closes its copy of the descriptor."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
