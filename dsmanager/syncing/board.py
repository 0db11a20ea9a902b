"""Counters of several operations at once: what runs now, and how many refs are done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dsmanager.progress import Progress

__all__ = ["Board"]


class Board:
    """Front ends sample it; workers enter and leave it. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Progress] = {}
        self._begun: list[str] = []
        self._done = 0
        self._total = 0
        self._notes: list[str] = []

    @contextmanager
    def running(self, label: str) -> Iterator[Progress]:
        """The counters of one ref while its steps run."""
        progress = Progress()
        with self._lock:
            self._running[label] = progress
            self._begun.append(label)
        try:
            yield progress
        finally:
            with self._lock:
                del self._running[label]
                self._done += 1
                self._notes += [f"{label}: {note}" for note in progress.take_notes()]

    def expect(self, total: int) -> None:
        """Says how many refs there will be."""
        with self._lock:
            self._total = total

    def note(self, text: str) -> None:
        with self._lock:
            self._notes.append(text)

    def now(self) -> dict[str, Progress]:
        """What runs, by label, in the order in which it began."""
        with self._lock:
            return dict(self._running)

    @property
    def begun(self) -> list[str]:
        """The labels of all that has run or runs."""
        with self._lock:
            return list(self._begun)

    @property
    def counts(self) -> tuple[int, int]:
        """Refs that are done, and all of them."""
        with self._lock:
            return self._done, self._total

    def take_notes(self) -> list[str]:
        """Narration since the last call, each with its ref in front."""
        with self._lock:
            notes, self._notes = self._notes, []
            for label, progress in self._running.items():
                notes += [f"{label}: {note}" for note in progress.take_notes()]
            return notes
