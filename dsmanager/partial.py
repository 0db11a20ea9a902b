"""The part of a file that has arrived from elsewhere, on disk, for the next process to go on with.

Of the target ``x`` it is ``.x.part``, with notes beside it that say what it is a part of, and which
of its bytes are there. The first line of the notes names bytes that were flushed before it was
written: they outlive a loss of power. The lines after it name what was only written: they hold
until the system starts again, for a killed process takes nothing out of the kernel's memory. The
hash of the whole object has the last word all the same. The caller holds the lock of the target.
"""

from __future__ import annotations

import json
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsmanager.files import remove_leftovers, remove_path, write_bytes

__all__ = ["PartialFile", "Spans", "allocated_bytes", "discard_part", "noted_part", "part_path"]

_SCHEMA = 1
_MAX_NOTES_BYTES = 1 << 20
_WRITE_BYTES = 256 << 10  # larger writes make the kernel look for larger pages: 3 times its work
_MIN_UNSAVED_BYTES = 16 << 20
_MAX_UNSAVED_BYTES = 256 << 20
_MAX_UNSAVED_S = 2.0


def part_path(target: Path) -> Path:
    """Where the part of ``target`` lies: a name that never looks like finished data."""
    return target.with_name(f".{target.name}.part")


def allocated_bytes(part: Path) -> int:
    """Space that it takes on its disk; 0 when there is none."""
    try:
        return part.stat().st_blocks * 512
    except OSError:
        return 0


def noted_part(part: Path) -> tuple[int, dict[str, Any]]:
    """The size and the identity of the whole that it is a part of; 0 and {} where nobody knows."""
    try:
        with open(_notes_path(part), "rb") as file:
            notes = json.loads(file.readline(_MAX_NOTES_BYTES))
        del notes["there"]
        if notes.pop("schema") != _SCHEMA:
            return 0, {}
        return int(notes.pop("size")), notes
    except _SENSELESS:
        return 0, {}


def discard_part(part: Path) -> None:
    """Removes a part and its notes; no error when there is none."""
    notes = _notes_path(part)
    remove_path(notes)
    remove_path(part)
    remove_leftovers(notes)


def _notes_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


class Spans:
    """Which bytes are there: sorted spans that neither touch nor overlap."""

    def __init__(self, spans: list[tuple[int, int]] | None = None) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in spans or ():
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        first = bisect_right(self._ends, start - 1)
        last = bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def end_at(self, position: int) -> int:
        """How far the bytes from ``position`` on are there; ``position`` when it is not."""
        index = bisect_right(self._starts, position) - 1
        return max(position, self._ends[index]) if index >= 0 else position

    def total(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def pairs(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._ends, strict=True))


class PartialFile:
    """A file that a download fills in any order. Safe between threads; a context manager."""

    def __init__(self, path: Path, size: int, identity: dict[str, Any] | None) -> None:
        """Goes on with what lies at ``path`` if it is of the same ``identity``, else starts anew.

        ``identity`` is whatever tells one object from another; with None nothing is noted, and
        nothing that lies there is used. Raises OSError.
        """
        self._notes = _notes_path(path) if identity is not None else None
        if identity is None:
            remove_path(_notes_path(path))  # they are of what was there
        self._identity = {"schema": _SCHEMA, "size": size, **(identity or {})}
        # Writers to one file spin in the kernel while they wait for each other: seven times the
        # processor time of writers that wait here.
        self._writing = threading.Lock()
        self._saving = threading.Lock()
        self._noting = threading.Lock()
        self._spans, self.was_of_another = self._read_notes(path)
        self.found_bytes = self._spans.total()
        """Bytes that were there already."""
        self._saved_bytes = self.found_bytes
        self._saved_at_s = time.monotonic()
        self._unsaved_limit = min(max(size // 64, _MIN_UNSAVED_BYTES), _MAX_UNSAVED_BYTES)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if self.found_bytes else os.O_TRUNC)
        self._descriptor = os.open(path, flags, 0o644)
        if self._notes is not None and not self.found_bytes:
            remove_path(self._notes)
            self._append({**self._identity, "there": []})
        with suppress(OSError):  # a file of full length takes writes in any order faster
            os.ftruncate(self._descriptor, size)

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # less to go on with; what matters is raised already
            self.note()
        with self._saving, self._writing:  # in the order in which save() takes them
            os.close(self._descriptor)
            self._descriptor = -1

    def allocated_bytes(self) -> int:
        """Space that it takes on its disk."""
        return os.fstat(self._descriptor).st_blocks * 512

    def read(self, view: memoryview, position: int) -> int:
        """Fills the start of ``view`` with bytes that are there already; returns how many."""
        wanted = view[: self._spans.end_at(position) - position]
        filled = 0
        with suppress(OSError):  # what cannot be read is fetched
            while filled < len(wanted):
                count = os.preadv(self._descriptor, [wanted[filled:]], position + filled)
                if not count:
                    break
                filled += count
        return filled

    def write(self, view: memoryview, position: int, check: Callable[[], None]) -> None:
        """Writes bytes down. ``check`` raises once nobody wants them any more. Raises OSError."""
        start = position
        while view:
            with self._writing:
                check()
                count = os.pwrite(self._descriptor, view[:_WRITE_BYTES], position)
            view, position = view[count:], position + count
        with self._writing:
            self._spans.add(start, position)

    def is_due(self) -> bool:
        """Whether so much has arrived, or so long ago, that it ought to be saved."""
        if self._notes is None or self._saving.locked():
            return False
        unsaved = self._spans.total() - self._saved_bytes
        late = time.monotonic() > self._saved_at_s + _MAX_UNSAVED_S
        return unsaved >= self._unsaved_limit or (unsaved > 0 and late)

    def note(self) -> None:
        """Notes what has arrived, without flushing it: cheap. Raises OSError."""
        if self._notes is not None:
            with self._noting:
                self._append({"boot": _boot_id(), "written": self._pairs()})

    def save(self) -> None:
        """Flushes what has arrived, then notes it. Raises OSError."""
        if self._notes is None:
            return
        with self._saving:
            if self._descriptor < 0:
                return
            there = self._pairs()
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
            with self._noting:
                write_bytes(self._notes, _line({**self._identity, "there": there}))
                self._append({"boot": _boot_id(), "written": self._pairs()})
            self._saved_bytes = Spans(there).total()
            self._saved_at_s = time.monotonic()

    def _pairs(self) -> list[tuple[int, int]]:
        with self._writing:
            return self._spans.pairs()

    def _append(self, notes: dict[str, Any]) -> None:
        assert self._notes is not None
        with open(self._notes, "ab") as file:
            file.write(_line(notes))

    def _read_notes(self, path: Path) -> tuple[Spans, bool]:
        """What is there, and whether what is there is of another object."""
        if self._notes is None:
            return Spans(), False
        remove_leftovers(self._notes)
        try:
            with open(self._notes, "rb") as file:
                first, *later = file.read(_MAX_NOTES_BYTES).splitlines()
            notes = json.loads(first)
            there = _spans_of(notes.pop("there"), path)
        except FileNotFoundError:
            return Spans(), False
        except _SENSELESS:
            return Spans(), True
        if notes != self._identity:
            return Spans(), True
        return _written_since(later, path) or there, False


_SENSELESS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def _written_since(lines: list[bytes], path: Path) -> Spans | None:
    """What the last whole line names; None when the system was started since, or nobody knows."""
    boot = _boot_id()
    for line in reversed(lines):
        with suppress(*_SENSELESS):
            notes = json.loads(line)
            if not boot or notes["boot"] != boot:
                return None
            return _spans_of(notes["written"], path)
    return None


def _spans_of(pairs: list[list[int]], path: Path) -> Spans:
    """Raises ValueError when they do not lie within the file."""
    length = path.stat().st_size
    spans = [(int(start), int(end)) for start, end in pairs]
    if any(not 0 <= start < end <= length for start, end in spans):
        raise ValueError("spans that the file does not have")
    return Spans(spans)


def _line(notes: dict[str, Any]) -> bytes:
    return json.dumps(notes).encode() + b"\n"


def _boot_id() -> str:
    """Changes when the system starts; empty where it has no such name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
