"""Reading that may take long, away from the event loop.

Owns one daemon thread for each kind of work, which does the newest thing it was asked for and
hands the outcome back. Never waits for a thread: one that hangs on a dead disk is left behind, and
what it brings later is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from dsmanager.errors import DsmanagerError, from_os_error
from dsmanager.progress import CancelToken
from dsmanager.text import plain

__all__ = ["Background"]

T = TypeVar("T")


class Background(Generic[T]):
    """Does the newest of the works that it is given; older ones are cancelled and forgotten.

    ``deliver`` is called in the thread, with the result or the error of a work that was neither
    cancelled nor replaced: hand it Textual's ``post_message``, which may be called from anywhere.
    """

    def __init__(self, name: str, deliver: Callable[[T | DsmanagerError], object]) -> None:
        self._name = name
        self._deliver = deliver
        self._lock = threading.Lock()
        self._waiting: tuple[Callable[[CancelToken], T], CancelToken] | None = None
        self._cancel = CancelToken()
        self._thread: threading.Thread | None = None

    def ask(self, work: Callable[[CancelToken], T]) -> None:
        """Returns at once; ``work`` begins when what runs now has stopped."""
        with self._lock:
            self._cancel.cancel()
            self._cancel = CancelToken()
            self._waiting = (work, self._cancel)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Stops what runs, as soon as it looks; nothing of it is delivered."""
        with self._lock:
            self._cancel.cancel()
            self._waiting = None

    def _run(self) -> None:
        while (next_work := self._take()) is not None:
            work, cancel = next_work
            outcome = _outcome(work, cancel)
            if not cancel.is_cancelled:
                with suppress(RuntimeError):  # the program has ended meanwhile
                    self._deliver(outcome)

    def _take(self) -> tuple[Callable[[CancelToken], T], CancelToken] | None:
        """The newest work; None, and the end of the thread, when nothing is asked for any more."""
        with self._lock:
            taken, self._waiting = self._waiting, None
            if taken is None:
                self._thread = None
            return taken


def _outcome(work: Callable[[CancelToken], T], cancel: CancelToken) -> T | DsmanagerError:
    try:
        return work(cancel)
    except DsmanagerError as error:
        return error
    except OSError as error:
        return from_os_error(error, "read")
    except Exception as error:  # whatever damaged data lead to is shown, and ends no screen
        words = plain(" ".join(str(error).split())[:300])
        return DsmanagerError(f"unexpected {type(error).__name__}: {words}")
