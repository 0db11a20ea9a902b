"""Tasks on this machine: this process takes them one by one, and so do helpers beside it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from dsmanager.errors import DsmanagerError
from dsmanager.parallel.helper import Helper, can_fork, start_forked, start_fresh
from dsmanager.parallel.serving import function_named
from dsmanager.progress import CancelToken, Progress

__all__ = ["Crew"]

_MOMENT_S = 0.3
_POLL_S = 0.1


class Crew:
    """``workers`` processes, this one among them, that run one function. To be closed.

    With ``fork`` the helpers are forked now, when that is safe. Otherwise each is started when the
    work takes longer than a moment, or at once when it ``is_long``, and takes a second or two until
    it has loaded what it needs.
    """

    def __init__(
        self,
        call: str,
        setup: Any,
        *,
        workers: int,
        fork: bool = False,
        is_long: bool = False,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        self._call = call
        self._setup = setup
        self._progress = progress
        self._cancel = cancel
        self._patience_s = 0 if is_long else _MOMENT_S
        self._lock = threading.Lock()
        self._is_closed = False
        self._helpers: list[Helper | None] = [None] * (workers - 1)
        if fork and can_fork():
            for number in range(workers - 1):
                self._helpers[number] = Helper(call, setup, progress, start_forked)

    def run(self, tasks: Sequence[Any]) -> Generator[tuple[int, Any]]:
        """(index of the task, result) as they finish. One batch at a time.

        Raises the first error of a task, and CancelledError; the helpers have ended then.
        """
        batch = _Batch(tasks)
        feeders = [
            threading.Thread(target=self._feed, args=(number, batch))
            for number in range(min(len(self._helpers), len(tasks) - 1))
        ]
        try:
            for feeder in feeders:
                feeder.start()
            for _ in tasks:
                yield self._next_result(batch)
        except BaseException:
            batch.end()
            self.close()
            raise
        finally:
            batch.end()
            for feeder in feeders:
                feeder.join()

    def close(self) -> None:
        """Ends the helpers, whatever they do."""
        with self._lock:
            self._is_closed = True
            helpers = [helper for helper in self._helpers if helper is not None]
        for helper in helpers:
            helper.kill()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for helper in self._helpers:
            if helper is not None:
                helper.close()

    def _next_result(self, batch: _Batch) -> tuple[int, Any]:
        """Works itself until there is a result, and waits when all is taken."""
        while True:
            self._cancel.check()
            if (done := batch.result(wait_s=0)) is not None:
                return done
            if (taken := batch.take()) is not None:
                index, task = taken
                function = function_named(self._call)
                return index, function(self._setup, task, self._progress, self._cancel)
            if (done := batch.result(wait_s=_POLL_S)) is not None:
                return done

    def _feed(self, number: int, batch: _Batch) -> None:
        """Feeds one helper; a fresh one is not started when the work is done in a moment."""
        try:
            if self._helpers[number] is None and batch.ends_within(self._patience_s):
                return
            helper = self._helper(number)
            while (taken := batch.take()) is not None:
                index, task = taken
                batch.done(index, helper.run(task))
        except BaseException as error:
            batch.fail(error)

    def _helper(self, number: int) -> Helper:
        with self._lock:
            if self._is_closed:
                raise DsmanagerError("the work has ended")
            helper = self._helpers[number]
            if helper is None:
                helper = Helper(self._call, self._setup, self._progress, start_fresh)
                self._helpers[number] = helper
            return helper


class _Batch:
    """Tasks that several threads take from, and what became of them."""

    def __init__(self, tasks: Sequence[Any]) -> None:
        self._waiting = deque(enumerate(tasks))
        self._results: queue.SimpleQueue[tuple[int, Any] | BaseException] = queue.SimpleQueue()
        self._is_over = threading.Event()

    def take(self) -> tuple[int, Any] | None:
        """The next task and its index, until there is none or the batch is over."""
        try:
            return None if self._is_over.is_set() else self._waiting.popleft()
        except IndexError:
            return None

    def done(self, index: int, result: Any) -> None:
        self._results.put((index, result))

    def fail(self, error: BaseException) -> None:
        self._is_over.set()
        self._results.put(error)

    def result(self, wait_s: float) -> tuple[int, Any] | None:
        """A result that a helper has sent. Raises what a helper raised."""
        try:
            found = self._results.get(timeout=wait_s) if wait_s else self._results.get_nowait()
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self) -> None:
        self._is_over.set()

    def ends_within(self, seconds: float) -> bool:
        return self._is_over.wait(seconds) or not self._waiting
