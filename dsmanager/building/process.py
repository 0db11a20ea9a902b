"""The parent's side of a child process that runs builder code.

Owns starting it, following its events, stopping it and saying how it ended. The child is a session
of its own, reads its request from a pipe that stays open as long as it is wanted, and reports on
another one; what the builder prints goes to a log. This module never imports a builder.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from dsmanager.errors import DsmanagerError, NoSpaceError, os_errors
from dsmanager.files import free_bytes
from dsmanager.parallel.environment import child_environment
from dsmanager.parallel.failures import raised
from dsmanager.progress import CancelToken, Progress

__all__ = ["run_child"]

_CHILD = "dsmanager.building.child"
_POLL_S = 0.1
_GRACE_S = 1.0
_ROOM_FOR_A_LOG_BYTES = 64 << 10


def run_child(
    request: Mapping[str, Any],
    *,
    scratch: Path,
    log_path: Path,
    progress: Progress,
    cancel: CancelToken,
) -> dict[str, Any]:
    """Runs one request and returns the child's result; ``scratch`` is its working folder.

    Raises the error that the child reports, a DsmanagerError when it dies without one, and
    CancelledError when ``cancel`` is set: within two seconds, unless the system itself is slow to
    end a process (much memory, a disk that does not answer), which is waited for.
    """
    with ExitStack() as stack:
        request_read, request_write = os.pipe()
        request_pipe = stack.enter_context(open(request_write, "wb", buffering=0))
        events_read, events_write = os.pipe()
        stack.callback(os.close, events_read)
        try:
            process = _start(request_read, events_write, scratch, log_path)
        finally:
            os.close(request_read)
            os.close(events_write)
        stack.callback(_stop, process, request_pipe)
        line = json.dumps({**request, "parent_pid": os.getpid()}).encode() + b"\n"
        with suppress(BrokenPipeError):  # it died already: following it will say why
            request_pipe.write(line)
        return _Follower(process, events_read, log_path, progress, cancel).result()


def _start(
    request_fd: int, events_fd: int, scratch: Path, log_path: Path
) -> subprocess.Popen[bytes]:
    with os_errors("start the builder's process"):
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(log_path, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", _CHILD, str(request_fd), str(events_fd)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                env=child_environment(os.environ, scratch),
                pass_fds=(request_fd, events_fd),
                start_new_session=True,
            )


def _stop(process: subprocess.Popen[bytes], request_pipe: IO[bytes]) -> None:
    """Ends the child, politely for a second, and all that it started, and waits until they have."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
    request_pipe.close()
    process.wait()


class _Follower:
    """Reads a child's events until it ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        events_fd: int,
        log_path: Path,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        self._process = process
        self._events_fd = events_fd
        self._log_path = log_path
        self._progress = progress
        self._cancel = cancel
        self._result: dict[str, Any] | None = None
        self._phase = ""

    def result(self) -> dict[str, Any]:
        pending, has_ended = b"", False
        with selectors.DefaultSelector() as selector:
            selector.register(self._events_fd, selectors.EVENT_READ)
            while True:
                self._cancel.check()
                if not selector.select(_POLL_S):
                    if has_ended:  # and all that it wrote was read; a fork may hold the pipe open
                        break
                    has_ended = self._process.poll() is not None
                    continue
                chunk = os.read(self._events_fd, 1 << 16)
                if not chunk:
                    break
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        while not self._has_ended():
            self._cancel.check()
        if self._result is None:
            raise self._death(self._process.returncode)
        return self._result

    def _has_ended(self) -> bool:
        """Waits a moment for the process, and no longer than it takes to end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_POLL_S)
        return self._process.returncode is not None

    def _take(self, event: dict[str, Any]) -> None:
        if "progress" in event:
            self._show(**event["progress"])
        elif "result" in event:
            self._result = event["result"]
        elif "error" in event:
            raise self._error(**event["error"])

    def _show(
        self, phase: str, byte_counts: Sequence[int], item_counts: Sequence[int], item_unit: str
    ) -> None:
        if phase != self._phase:
            self._phase = phase
            self._progress.start_phase(phase, item_unit=item_unit)
        self._progress.set_bytes(*byte_counts)
        self._progress.set_items(*item_counts)

    def _error(self, kind: str, message: str, hint: str | None) -> DsmanagerError:
        return raised(kind, message, hint or self._log_hint())

    def _death(self, return_code: int) -> DsmanagerError:
        if free_bytes(self._log_path.parent) < _ROOM_FOR_A_LOG_BYTES:
            return NoSpaceError(
                f"the builder's process stopped: no room for its log in {self._log_path.parent}",
                hint="free some space, or use another state dir: DSMANAGER_STATE_DIR=DIR",
            )
        if return_code >= 0:
            how = f"ended with exit code {return_code} before it was done"
        else:
            how = f"was killed by {_signal_name(-return_code)}"
            if -return_code == signal.SIGKILL:
                how += ", as the system does when memory runs out"
        return DsmanagerError(f"the builder's process {how}", hint=self._log_hint())

    def _log_hint(self) -> str:
        return f"see what it printed: less '{self._log_path}'"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
