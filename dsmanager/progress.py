"""Counters that work adds to, how fast they grow, and the token that stops it.

Workers add; front ends sample with :meth:`Progress.snapshot` a few times a second. There are no
callbacks and no messages a chunk, so that counting costs the same with and without a screen.
This module must never print.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple, TypeAlias

from dsmanager.errors import CancelledError

__all__ = ["CancelToken", "Pace", "Progress", "Snapshot", "Speed", "Stopwatch"]

_SPEED_OVER_S = 5.0

Pace: TypeAlias = "tuple[float, float | None]"
"""Bytes a second, and the seconds that are left where that can be told."""


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
    bytes_found: int = 0
    """So many of those done are of an earlier run."""


class Progress:
    """Counters of one operation on one ref. Safe to add to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = ""
        self._bytes_done = self._bytes_found = 0
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
            self._bytes_done = self._bytes_found = 0
            self._bytes_total = bytes_total
            self._items_done = 0
            self._items_total = items_total
            self._item_unit = item_unit
            self._phase_started_s = time.monotonic()

    def add_bytes(self, count: int) -> None:
        with self._lock:
            self._bytes_done += count

    def add_found_bytes(self, count: int) -> None:
        """Bytes that need not be done again: they say nothing of how fast it goes."""
        with self._lock:
            self._bytes_done += count
            self._bytes_found += count

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

    def set_bytes(self, done: int, total: int | None = None, found: int = 0) -> None:
        """Takes over counters that another process keeps."""
        with self._lock:
            self._bytes_done = done
            self._bytes_total = total
            self._bytes_found = found

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
                bytes_found=self._bytes_found,
            )


class Speed:
    """How fast counters have grown over the last seconds, and how long the rest takes so."""

    def __init__(self) -> None:
        self._phase = ("", 0.0)
        self._points: deque[tuple[float, int, int]] = deque()

    def of(self, snapshot: Snapshot) -> Pace:
        """To be asked with one snapshot after another. Bytes that were found count for nothing."""
        now_s = time.monotonic()
        phase = (snapshot.phase, snapshot.phase_started_s)
        if phase != self._phase:
            self._phase = phase
            self._points.clear()
            self._points.append((snapshot.phase_started_s, 0, 0))
        bytes_done = snapshot.bytes_done - snapshot.bytes_found
        self._points.append((now_s, bytes_done, snapshot.items_done))
        while self._points[0][0] < now_s - _SPEED_OVER_S and len(self._points) > 2:
            self._points.popleft()
        then_s, bytes_then, items_then = self._points[0]
        seconds = max(now_s - then_s, 1e-3)
        bytes_per_s = max(bytes_done - bytes_then, 0) / seconds
        items_per_s = max(snapshot.items_done - items_then, 0) / seconds
        left_s = _left(snapshot.bytes_done, snapshot.bytes_total, bytes_per_s)
        if not snapshot.bytes_total:
            left_s = _left(snapshot.items_done, snapshot.items_total, items_per_s)
        return bytes_per_s, left_s


def _left(done: int, total: int | None, per_s: float) -> float | None:
    return max(total - done, 0) / per_s if total and per_s > 0 else None


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
