"""Counters that work adds to, the token that stops it, and how long it has been silent.

Workers add; front ends sample with :meth:`Progress.snapshot` a few times a second. There are no
callbacks and no messages a chunk, so that counting costs the same with and without a screen.
This module must never print.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from dsmanager.errors import CancelledError

__all__ = ["CancelToken", "Progress", "Snapshot", "Stopwatch"]


class Snapshot(NamedTuple):
    """One look at a :class:`Progress`. Totals are None while they are not known."""

    phase: str
    bytes_done: int
    bytes_total: int | None
    items_done: int
    items_total: int | None
    item_unit: str
    phase_started_s: float
    """``time.monotonic()`` at the start of the phase."""


class Progress:
    """Counters of one operation on one ref. Safe to add to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = ""
        self._bytes_done = 0
        self._bytes_total: int | None = None
        self._items_done = 0
        self._items_total: int | None = None
        self._item_unit = ""
        self._phase_started_s = time.monotonic()
        self._notes: list[str] = []

    def start_phase(
        self,
        phase: str,
        *,
        bytes_total: int | None = None,
        items_total: int | None = None,
        item_unit: str = "",
    ) -> None:
        """Begins a phase ("package", "verify", "upload", …) and sets its counters to zero."""
        with self._lock:
            self._phase = phase
            self._bytes_done = 0
            self._bytes_total = bytes_total
            self._items_done = 0
            self._items_total = items_total
            self._item_unit = item_unit
            self._phase_started_s = time.monotonic()

    def add_bytes(self, count: int) -> None:
        with self._lock:
            self._bytes_done += count

    def add_items(self, count: int = 1) -> None:
        with self._lock:
            self._items_done += count

    def add_records(self, count: int, size_bytes: int) -> None:
        """Items and their bytes in one go: a build calls this for every record."""
        with self._lock:
            self._items_done += count
            self._bytes_done += size_bytes

    def set_items(self, done: int, total: int | None = None) -> None:
        """Takes over counters that another process keeps."""
        with self._lock:
            self._items_done = done
            self._items_total = total

    def set_bytes(self, done: int, total: int | None = None) -> None:
        """Takes over counters that another process keeps."""
        with self._lock:
            self._bytes_done = done
            self._bytes_total = total

    def note(self, text: str) -> None:
        """Adds a line of narration, such as whom this operation waits for."""
        with self._lock:
            self._notes.append(text)

    def take_notes(self) -> list[str]:
        """Returns the notes since the last call, oldest first."""
        with self._lock:
            notes, self._notes = self._notes, []
            return notes

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(
                phase=self._phase,
                bytes_done=self._bytes_done,
                bytes_total=self._bytes_total,
                items_done=self._items_done,
                items_total=self._items_total,
                item_unit=self._item_unit,
                phase_started_s=self._phase_started_s,
            )


class CancelToken:
    """Asks work to stop. Work calls :meth:`check` at least every 200 ms."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises :class:`~dsmanager.errors.CancelledError` once somebody asked to stop."""
        if self._event.is_set():
            raise CancelledError("cancelled")

    def wait(self, timeout_s: float) -> None:
        """Sleeps up to ``timeout_s`` seconds; raises as soon as somebody asks to stop."""
        if self._event.wait(timeout_s):
            raise CancelledError("cancelled")


class Stopwatch:
    """How long ago something happened, the last byte for example."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._since_s = time.monotonic()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._since_s
