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
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from dsmanager.errors import DsmanagerError
from dsmanager.progress import CancelToken
from dsmanager.remotes.failures import is_damage, is_silence, is_temporary, retry_after_s

__all__ = ["Crew"]

T = TypeVar("T")

_POLL_S = 0.1
_LAST_WORD_S = 1.0
_MAX_RETRIES = 5
_FIRST_PAUSE_S = 0.2
_MAX_PAUSES_S = 30.0


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

    def retried(self, work: Callable[[], T], *, max_silences: int = 2) -> T:
        """Runs ``work`` here, again after a pause when it fails in a way that may pass.

        A server that let the time run out ``max_silences`` times is not asked again.
        Pauses double, and are drawn by lot so that many clients do not come back at once. A server
        that says when to come back is obeyed, unless that is too long to wait for here.
        """
        silences, paused_s = 0, 0.0
        for attempt in range(_MAX_RETRIES):
            try:
                return work()
            except Exception as error:
                self.check()
                silences += is_silence(error)
                if isinstance(error, DsmanagerError) or not _may_pass(error):
                    raise
                if silences == max_silences:
                    raise
                pause_s = _FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1)  # noqa: S311
                pause_s = max(pause_s, retry_after_s(error))
                paused_s += pause_s
                if paused_s > _MAX_PAUSES_S:
                    raise
            self._stopped.wait(pause_s)
            self.check()
        return work()

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


def _may_pass(error: Exception) -> bool:
    return is_temporary(error) or is_damage(error)
