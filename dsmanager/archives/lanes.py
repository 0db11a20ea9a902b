"""Threads that keep order: hashing, compressing and writing at the same time in flat memory.

hashlib, isal, zlib, zstandard and file I/O release the interpreter lock for large pieces, so that
lanes run side by side. The result never depends on how many there are.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Lane", "MemberHashes", "prefetched"]

_BATCH_BYTES = 1 << 20
_BATCH_ITEMS = 1000

_T = TypeVar("_T")


class Lane:
    """One thread that does its jobs in the order of submission; at most ``depth`` of them wait.

    After the first error the remaining jobs are skipped; :meth:`submit` and the end of the
    ``with`` block raise it. When the block itself raises, waiting jobs are dropped.
    """

    def __init__(self, name: str, *, depth: int = 4) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None]
        self._jobs = queue.SimpleQueue()
        self._slots = threading.Semaphore(depth)
        self._error: BaseException | None = None
        self._dropped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, job: Callable[..., object], *arguments: Any) -> None:
        """Queues ``job(*arguments)``; waits while the lane is full."""
        self._slots.acquire()
        if self._error is not None:
            raise self._error
        self._jobs.put((job, arguments))

    def __enter__(self) -> Lane:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dropped = error is not None
        self._jobs.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, arguments = item
            del item
            if self._error is None and not self._dropped:
                try:
                    job(*arguments)
                except BaseException as error:
                    self._error = error
            del job, arguments
            self._slots.release()


class _Raised(Generic[_T]):
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(source: Iterator[_T], *, depth: int = 4) -> Generator[_T, None, None]:
    """The items of ``source``, made on a thread of their own, at most ``depth`` ahead.

    Close the returned generator (``contextlib.closing``) to stop the thread early.
    """
    items: queue.SimpleQueue[_T | _Raised[_T] | None] = queue.SimpleQueue()
    slots = threading.Semaphore(depth)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for item in source:
                slots.acquire()
                if stopped.is_set():
                    return
                items.put(item)
            items.put(None)
        except BaseException as error:
            items.put(_Raised(error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not None:
            if isinstance(item, _Raised):
                raise item.error
            slots.release()
            yield item
    finally:
        stopped.set()
        slots.release()
        thread.join()


class MemberHashes:
    """Hashes the members of an archive, one after another, on a lane; small ones in batches."""

    def __init__(self, lane: Lane, done: Callable[[str, str], object]) -> None:
        """``done(path, sha256)`` is called on the lane's thread when a member is complete."""
        self._lane = lane
        self._done = done
        self._digest = hashlib.sha256()
        self._batch: list[memoryview | str] = []
        self._batch_bytes = 0

    def add(self, piece: memoryview) -> None:
        """The next bytes of the current member; they must not change any more."""
        self._batch.append(piece)
        self._batch_bytes += len(piece)
        if self._batch_bytes >= _BATCH_BYTES:
            self.flush()

    def end(self, path: str) -> None:
        """The current member is complete; its name is ``path``."""
        self._batch.append(path)
        if len(self._batch) >= _BATCH_ITEMS:
            self.flush()

    def flush(self) -> None:
        """Hands over what waits; call it once more after the last member."""
        self._lane.submit(self._hash, self._batch)
        self._batch = []
        self._batch_bytes = 0

    def _hash(self, batch: list[memoryview | str]) -> None:
        for item in batch:
            if isinstance(item, str):
                self._done(item, self._digest.hexdigest())
                self._digest = hashlib.sha256()
            else:
                self._digest.update(item)
