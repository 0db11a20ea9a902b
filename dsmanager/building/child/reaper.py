"""The process beside a builder's, which ends all that the builder started and waits until it has.

Nothing of a build may be at work when its folders are taken away, or keep a disk busy after the
command has returned: a killed process holds its files and its working folder until it is gone,
which for one with much memory takes a while, and only its parent can wait for that. So the process
that was asked for forks before it loads anything. The fork runs the builder; this one becomes the
parent of whatever is orphaned below it (``PR_SET_CHILD_SUBREAPER`` in prctl(2), Linux; elsewhere
orphans are killed with the builder's process group and not waited for). Whoever kills this process
itself, with SIGKILL, ends the builder and its helpers (Linux), and no other program that the
builder started.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from dsmanager.libc import adopt_orphans, signal_at_parents_death

__all__ = ["fork_reaped"]

_PARENT_DIED = signal.SIGUSR1
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_SIGNALS = (_PARENT_DIED, signal.SIGCHLD, *_PASSED_ON)


def fork_reaped(request_fd: int, events_fd: int, parent_pid: int) -> None:
    """Returns in a fork of this process. This one stays behind, and never returns.

    It ends as the fork ended, after everything that the fork started; it ends them all on SIGUSR1,
    or when the pipe of the request is closed or its own parent dies, and passes SIGTERM and what a
    terminal sends on.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # a caller may have blocked them
    signal.set_wakeup_fd(wake_write)
    signal_at_parents_death(_PARENT_DIED)
    if os.getppid() != parent_pid:
        raise SystemExit("the process that asked for this has ended")
    if _children() is not None:  # else one that left the group could not be ended
        adopt_orphans()
    reaper_pid = os.getpid()
    if child_pid := os.fork():
        os.close(events_fd)
        reaper = _Reaper(child_pid)
        try:
            reaper.follow(request_fd, wake_read)
        except BaseException:
            traceback.print_exc()
        finally:
            reaper.end_all()
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for descriptor in (wake_read, wake_write, request_fd):
        os.close(descriptor)
    os.setpgid(0, 0)
    signal_at_parents_death(signal.SIGKILL)
    if os.getppid() != reaper_pid:
        raise SystemExit("the process that watches this has ended")


class _Reaper:
    def __init__(self, child_pid: int) -> None:
        self._child_pid = child_pid
        self._status: int | None = None
        with suppress(OSError):  # it has done so itself
            os.setpgid(child_pid, child_pid)

    def follow(self, request_fd: int, wake_fd: int) -> None:
        """Returns when the child has ended, or nobody wants it any more."""
        with selectors.DefaultSelector() as selector:
            selector.register(request_fd, selectors.EVENT_READ)
            selector.register(wake_fd, selectors.EVENT_READ)
            while self._wait(os.WNOHANG) and self._status is None:
                ready = [key.fd for key, _ in selector.select()]
                signals = os.read(wake_fd, 64) if wake_fd in ready else b""
                if request_fd in ready or _PARENT_DIED in signals:
                    break
                for number in _PASSED_ON:
                    if number in signals:
                        self._signal_group(number)

    def end_all(self) -> NoReturn:
        """Ends what is left, waits for it, and ends as the child did."""
        self._signal_group(signal.SIGKILL)
        while self._end_children() and self._wait():
            pass
        _end_as(self._status or 0)

    def _end_children(self) -> bool:
        """Kills those there are; False when they are all of another user, and not to be killed."""
        children = _children() or ()
        foreign = 0
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except PermissionError:
                foreign += 1
        return not children or foreign < len(children)

    def _wait(self, options: int = 0) -> bool:
        """Takes in processes that have ended; False when there are no more to wait for."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, options)
                if pid == self._child_pid:
                    self._status = status
                if not pid or not options:
                    return True
        return False

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nobody, or nobody of this user
            os.killpg(self._child_pid, number)


def _children() -> list[int] | None:
    """Those of this process, which has one thread; None where the system does not tell."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    except OSError:
        return None
    return [int(pid) for pid in text.split()]


def _end_as(status: int) -> NoReturn:
    """Ends with an exit code or by a signal, as a child that was waited for did."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one dump of the two is enough
        with suppress(OSError):  # SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
