"""A few threads for one transfer, that never keep anybody waiting.

Whoever waits for a result polls the cancel token meanwhile. The threads are daemons: one that is
stuck in a socket when the transfer is given up ends by the socket's time-out, and nobody waits for
it; it checks in before it touches anything that outlives the transfer.
"""

from __future__ import annotations

import concurrent.futures
import queue
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken
from dsmanager.remotes.failures import is_temporary, retry_after_s

__all__ = ["Crew"]

T = TypeVar("T")

_POLL_S = 0.1
_LAST_WORD_S = 1.0
_FIRST_RETRY_S = 0.2
_LONGEST_RETRY_S = 4.0
_RETRY_WITHIN_S = 15.0


class Crew:
    """Runs pieces of work in ``size`` threads. A context manager: leaving it stops them."""

    def __init__(self, size: int, cancel: CancelToken) -> None:
        self._cancel = cancel
        self._stopped = threading.Event()
        self._work: queue.SimpleQueue[tuple[concurrent.futures.Future[Any], Any] | None]
        self._work = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, name=f"transfer-{index}", daemon=True)
            for index in range(size)
        ]

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(_LAST_WORD_S / len(self._threads))

    def submit(self, work: Callable[[], T]) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._work.put((future, work))
        return future

    def result(self, future: concurrent.futures.Future[T]) -> T:
        """Waits for one piece of work; raises what it raised, or CancelledError."""
        while not concurrent.futures.wait([future], timeout=_POLL_S).done:
            self._cancel.check()
        self._cancel.check()
        return future.result()

    def take(self, items: queue.Queue[T]) -> T:
        """The next of ``items`` that the threads put there; raises as soon as a thread failed."""
        while True:
            self._cancel.check()
            if self._failure is not None:
                raise self._failure
            try:
                return items.get(timeout=_POLL_S)
            except queue.Empty:
                continue

    def check(self) -> None:
        """For the work itself, many times a second: raises once nobody wants it any more.

        The exception is the one that botocore lets through unchanged.
        """
        if self._stopped.is_set() or self._cancel.is_cancelled:
            raise concurrent.futures.CancelledError

    def retried(self, work: Callable[[], T]) -> T:
        """Runs ``work`` here, again after a pause when it fails in a way that may pass.

        Pauses double, and are drawn by lot so that many clients do not come back at once; a server
        that says when to come back is obeyed. No try starts later than ``_RETRY_WITHIN_S``.
        """
        last_start_s = time.monotonic() + _RETRY_WITHIN_S
        longest_s = _FIRST_RETRY_S
        while True:
            try:
                return work()
            except Exception as error:
                self.check()
                if isinstance(error, DsmanagerError) or not is_temporary(error):
                    raise
                pause_s = max(longest_s * random.uniform(0.5, 1), retry_after_s(error))  # noqa: S311
                if time.monotonic() + pause_s > last_start_s:
                    raise
            self._stopped.wait(pause_s)
            self.check()
            longest_s = min(2 * longest_s, _LONGEST_RETRY_S)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if self._stopped.is_set():
                future.cancel()
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                if self._failure is None and not self._stopped.is_set():
                    self._failure = error
                future.set_exception(error)
