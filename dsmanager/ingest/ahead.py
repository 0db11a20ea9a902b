"""Chunks made ahead in a thread: reading and decompressing run beside what is done with them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from dsmanager.progress import CancelToken

__all__ = ["ahead"]

_DEPTH = 4
_POLL_S = 0.1


@contextmanager
def ahead(chunks: Generator[bytes], cancel: CancelToken) -> Iterator[Iterator[bytes]]:
    """Yields the same chunks, at most a few ahead; raises what they raise, or CancelledError.

    When the block ends the thread is told to stop; one that is stuck in a socket ends by the
    socket's time-out, and nobody waits for it.
    """
    items: queue.Queue[bytes | BaseException | None] = queue.Queue(_DEPTH)
    stopped = threading.Event()

    def put(item: bytes | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                items.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for chunk in chunks:
                if not put(chunk):
                    break
            put(None)
        except BaseException as error:
            put(error)
        finally:
            chunks.close()

    def taken() -> Iterator[bytes]:
        while True:
            cancel.check()
            try:
                item = items.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stopped.set()
        thread.join(1.0)
