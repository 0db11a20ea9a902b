"""Helpers: processes that run tasks for this one; what they do is in ``serving.py``.

A helper is forked where that is safe and asked for, and has everything loaded at once; else it is a
Python of its own. It has this process's log, environment and session, and ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from dsmanager.errors import DsmanagerError
from dsmanager.parallel.environment import with_our_code
from dsmanager.parallel.failures import raised
from dsmanager.parallel.serving import serve
from dsmanager.progress import Progress

__all__ = ["Helper", "can_fork", "start_forked", "start_fresh"]

_SERVE = "import sys; from dsmanager.parallel.serving import serve; serve(*map(int, sys.argv[1:]))"
_STDERR = 2
_POLL_S = 0.01


class _Process(Protocol):
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


Start = Callable[[int, int], _Process]
"""Starts a process that serves on these descriptors: where it is asked, and where it answers."""


class Helper:
    """One helper. Tasks are for one thread at a time; :meth:`close` is for any."""

    def __init__(self, call: str, setup: Any, progress: Progress, start: Start) -> None:
        self._progress = progress
        self._items = self._bytes = 0
        asked, self._asking = os.pipe()
        answers, answering = os.pipe()
        self._lines = open(answers, encoding="utf-8")  # noqa: SIM115
        try:
            self._process = start(asked, answering)
        except BaseException:
            os.close(self._asking)
            self._lines.close()
            raise
        finally:
            os.close(asked)
            os.close(answering)
        self._say({"call": call, "setup": setup})

    def run(self, task: Any) -> Any:
        """Has one task done. Raises what it raised, and DsmanagerError when it was killed."""
        self._say(task)
        for line in self._lines:
            event = json.loads(line)
            if "counters" in event:
                self._count(*event["counters"])
            if "error" in event:
                raise raised(**event["error"])
            if "result" in event:
                return event["result"]
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        raise DsmanagerError(f"a helper process {how}")

    def kill(self) -> None:
        """What it has finished is finished; what it has not is begun anew some day."""
        self._process.kill()

    def close(self) -> None:
        """Ends it. Nobody runs a task any more."""
        self.kill()
        self._process.wait()
        os.close(self._asking)
        self._lines.close()

    def _count(self, items: int, size_bytes: int) -> None:
        self._progress.add_items(items - self._items)
        self._progress.add_bytes(size_bytes - self._bytes)
        self._items, self._bytes = items, size_bytes

    def _say(self, value: Any) -> None:
        data = memoryview(json.dumps(value).encode() + b"\n")
        with suppress(BrokenPipeError):  # it has ended: reading its answers tells how
            while data:
                data = data[os.write(self._asking, data) :]


def start_fresh(
    asked: int,
    answering: int,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> _Process:
    """A Python of its own. What it prints goes where errors of this process go."""
    return subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", _SERVE, str(asked), str(answering)],
        pass_fds=(asked, answering),
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,
        env=with_our_code(os.environ if environment is None else environment),
        cwd=folder,
    )


def can_fork() -> bool:
    """Whether a fork of this process can work on: Linux, one thread, no TensorFlow.

    Threads of OpenBLAS, which numpy starts, are no hindrance: it ends them before a fork.
    """
    alone = threading.active_count() == 1
    return sys.platform == "linux" and alone and "tensorflow" not in sys.modules


def start_forked(asked: int, answering: int) -> _Process:
    """A copy of this process as it stands; ask :func:`can_fork` first.

    It holds its own pipe and those of the ones before it open, so that no end of a pipe tells it
    that this process has died: the kernel does.
    """
    from dsmanager.libc import signal_at_parents_death

    parent_pid = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 counts OpenBLAS's threads
        pid = os.fork()
    if pid:
        return _Fork(pid)
    try:
        signal_at_parents_death(signal.SIGKILL)
        if os.getppid() == parent_pid:
            serve(asked, answering)
    finally:
        os._exit(1)


class _Fork:
    """A forked process, as ``subprocess.Popen`` has them."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self._code is None:
                try:
                    pid, status = os.waitpid(self._pid, os.WNOHANG)
                except ChildProcessError:  # somebody in this process takes in all that end
                    pid, status = self._pid, 0
                self._code = os.waitstatus_to_exitcode(status) if pid else None
            return self._code

    def kill(self) -> None:
        with self._lock:
            if self._code is None:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            threading.Event().wait(_POLL_S)
        return code
