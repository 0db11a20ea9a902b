"""Whether the process of a job lives, and reaching it.

The file ``pid`` of a job is locked with ``flock`` by whoever starts the job, and the job's process
inherits that lock: there is no moment without it, and the kernel drops it when the process dies,
however it dies. A number of a process says nothing by itself: it may be another's by now.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from dsmanager.errors import DsmanagerError

__all__ = ["hold", "is_alive", "keep_from_children", "read_pid", "send", "write_pid"]

_PID = "pid"
_MOST_BYTES = 400


def hold(folder: Path) -> int:
    """Makes and locks ``pid`` in a folder that nobody sees yet; returns the descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(folder / _PID, flags, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def write_pid(descriptor: int, pid: int) -> None:
    """Names the process, and the machine on which that number means something."""
    with suppress(OSError):  # a full disk forgets the number, not the lock
        os.pwrite(descriptor, f"{pid} {socket.gethostname()}\n".encode(), 0)


def keep_from_children(descriptor: int) -> None:
    """No child of this process holds the lock, forked or started: it dies with this process."""

    def let_go() -> None:
        with suppress(OSError):
            os.close(descriptor)

    os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=let_go)


def is_alive(folder: Path) -> bool:
    """Whether somebody holds the lock of a job."""
    try:
        descriptor = os.open(folder / _PID, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared, so that two who ask at once do not take each other for the process.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def read_pid(folder: Path) -> tuple[int, str] | None:
    """Number and machine of the process, where they were written."""
    try:
        with open(folder / _PID, "rb") as file:
            number, _, host = file.read(_MOST_BYTES).decode().strip().partition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    return (int(number), host) if is_number and int(number) > 1 else None


def send(folder: Path, number: signal.Signals) -> bool:
    """Sends a signal to the living process of a job; False when it lives no more.

    Raises DsmanagerError when it runs on another machine, or is somebody else's.
    """
    found = read_pid(folder)
    if found is None:
        return False
    pid, host = found
    if host != socket.gethostname():
        raise DsmanagerError(
            f"its process runs on another machine, {host}", hint="cancel it there: dsmanager jobs"
        )
    try:
        return _send_checked(folder, pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise DsmanagerError(
            "its process belongs to somebody else", hint="ask its owner to: dsmanager cancel"
        ) from error


def _send_checked(folder: Path, pid: int, number: signal.Signals) -> bool:
    """The lock, looked at after the process was opened, tells that it is the job's."""
    if not hasattr(os, "pidfd_open"):
        if not is_alive(folder):
            return False
        os.kill(pid, number)
        return True
    process = os.pidfd_open(pid)
    try:
        if not is_alive(folder):
            return False
        signal.pidfd_send_signal(process, number)
        return True
    finally:
        os.close(process)
