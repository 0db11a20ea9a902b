"""Writing in a thread beside whoever makes what is written, in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from dsmanager.files import MOST_PIECES

__all__ = ["WriteBehind"]

_BATCH_BYTES = 2 << 20
_WAITING_BATCHES = 2  # so few that what waits stays in the processor's cache


class WriteBehind:
    """Hands pieces to ``write`` in their order, in batches; a few of them wait in memory.

    ``write(pieces, size_bytes)`` runs in a thread of its own. For one thread; to be closed.
    """

    def __init__(self, write: Callable[[Sequence[bytes], int], None]) -> None:
        self._write = write
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._to_write: SimpleQueue[tuple[list[bytes], int] | None] = SimpleQueue()
        self._written: SimpleQueue[BaseException | None] = SimpleQueue()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="write-behind")
        self._thread.start()

    def append(self, pieces: Sequence[bytes], size_bytes: int) -> None:
        """``size_bytes`` is of all pieces. Raises what ``write`` raised, of an earlier call too."""
        self._batch += pieces
        self._batch_bytes += size_bytes
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= MOST_PIECES:
            self._hand_over()

    def finish(self) -> None:
        """All is written. Raises what ``write`` raised."""
        self._hand_over()
        self._settle(0)
        self.close()

    def close(self) -> None:
        """Ends the thread; what was not handed to it is given up."""
        self._to_write.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        self._settle(_WAITING_BATCHES - 1)
        self._to_write.put((self._batch, self._batch_bytes))
        self._batch, self._batch_bytes = [], 0
        self._waiting += 1

    def _settle(self, most: int) -> None:
        """Waits until at most so many batches are not written."""
        while self._waiting > most:
            error = self._written.get()
            self._waiting -= 1
            if error is not None:
                raise error

    def _run(self) -> None:
        while (given := self._to_write.get()) is not None:
            try:
                self._write(*given)
            except BaseException as error:
                self._written.put(error)
            else:
                del given  # its memory is free before more is asked for
                self._written.put(None)
