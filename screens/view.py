"""What of the rows is shown, and in which order: filter, sort, group, marks, cursor.

Pure: no Textual, no disk, no clock. Marks and cursor go by ref, so that they outlive a refresh.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dsmanager.errors import UsageError
from dsmanager.library.presence import STATES
from dsmanager.library.query import Query
from dsmanager.screens.rows import MARKERS, Row

__all__ = ["COLUMNS", "Heading", "Line", "View"]


@dataclass(frozen=True, slots=True)
class Heading:
    """The line above a group."""

    label: str
    count: int


Line = Row | Heading
_GLOB = re.compile(r"[*?\[]")
_RANK = {state: index for index, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class Column:
    """Something to sort and group by."""

    title: str
    key: Callable[[Row], Any]
    group: Callable[[Row], str]
    is_largest_first: bool = False


def _place(place: str) -> Column:
    return Column(
        title="Manifest" if place == "recorded" else place.capitalize(),
        key=lambda row: -1 if (size := row.size_bytes(place)) is None else size,
        group=lambda row: f"{row.marker(place)} {MARKERS[row.marker(place)]}",
        is_largest_first=True,
    )


_SIZES = ((10**12, "over 1 TB"), (10**9, "over 1 GB"), (10**6, "over 1 MB"), (0, "up to 1 MB"))

COLUMNS: dict[str, Column] = {
    "name": Column("Name", lambda row: row.sort_key, lambda row: row.name.split("/")[0]),
    "version": Column("Version", lambda row: row.sort_key[2], lambda row: row.version),
    "state": Column("State", lambda row: _RANK.get(row.state, 0), lambda row: row.state),
    "built": _place("built"),
    "cached": _place("cached"),
    "remote": _place("remote"),
    "recorded": _place("recorded"),
    "size": Column(
        "Size",
        lambda row: row.largest_bytes,
        lambda row: next(words for least, words in _SIZES if row.largest_bytes >= least),
        is_largest_first=True,
    ),
    "age": Column(
        "Age",
        lambda row: row.newest_s,
        lambda row: _day(row.newest_s),
        is_largest_first=True,
    ),
}


def _day(time_s: float) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(time_s)) if time_s else "not known"


class View:
    """The lines that are shown of ``rows``. Every change goes through a method."""

    def __init__(self) -> None:
        self.rows: Sequence[Row] = ()
        self.lines: Sequence[Line] = ()
        self.shown: Sequence[Row] = ()
        """The rows among the lines."""
        self.filter_text = ""
        self.filter_error: str | None = None
        self.sort = "name"
        self.is_reversed = False
        self.group: str | None = None
        self.marks: set[str] = set()
        self.cursor = 0
        """The line with the cursor: a row's, never a heading's, unless there are no rows."""
        self._query = Query()
        self._words: tuple[str, ...] = ()
        self._anchor: str | None = None

    # what is shown

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Takes over new rows; cursor and marks stay where they were, by ref."""
        self.rows = rows
        if self.marks:
            self.marks &= {row.ref for row in rows}
        self._arrange()

    def set_filter(self, text: str) -> None:
        """Shows what ``text`` matches. A term that is none counts for nothing, and is told."""
        self.filter_text = text
        self.filter_error = None
        terms: list[str] = []
        words: list[str] = []
        for term in text.split():
            try:
                query = Query.parse([term])
            except UsageError as error:
                self.filter_error = self.filter_error or error.message
                continue
            is_word = query.words == (term,) and not _GLOB.search(term)
            (words if is_word else terms).append(term)
        self._words = tuple(word.lower() for word in words)
        self._query = Query.parse(terms)
        self._arrange()

    def sort_by(self, column: str) -> None:
        """Sorts by ``column``; asked again for the same one, turns the order round."""
        self.is_reversed = not self.is_reversed if column == self.sort else False
        self.sort = column
        self._arrange()

    def reverse(self) -> None:
        self.is_reversed = not self.is_reversed
        self._arrange()

    def group_by(self, column: str | None) -> None:
        self.group = column
        self._arrange()

    @property
    def is_descending(self) -> bool:
        return COLUMNS[self.sort].is_largest_first != self.is_reversed

    def _arrange(self) -> None:
        at = self.row
        before = self.cursor
        rows: Sequence[Row] = self.rows
        for word in self._words:  # what is typed most: no row needs its presence for it
            rows = [row for row in rows if word in row.folded]
        if self._query.tests:
            rows = [row for row in rows if self._query.matches(row.presence)]
        if self.sort != "name" or self.is_reversed:
            rows = sorted(rows, key=COLUMNS[self.sort].key, reverse=self.is_descending)
        self.shown = rows
        self.lines = rows if self.group is None else self._grouped(rows, COLUMNS[self.group].group)
        self._put_cursor(at.ref if at else None, before)

    def _grouped(self, rows: Sequence[Row], label_of: Callable[[Row], str]) -> list[Line]:
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(label_of(row), []).append(row)
        lines: list[Line] = []
        for label in sorted(groups):
            lines += [Heading(label, len(groups[label])), *groups[label]]
        return lines

    def _put_cursor(self, ref: str | None, line: int) -> None:
        for index, each in enumerate(self.lines):
            if isinstance(each, Row) and each.ref == ref:
                self.cursor = index
                return
        self.move_to(line)

    # cursor

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        if self.cursor < len(self.lines):
            line = self.lines[self.cursor]
            return line if isinstance(line, Row) else None
        return None

    def move_to(self, line: int) -> None:
        """Puts the cursor on ``line`` or the nearest row."""
        line = max(0, min(line, len(self.lines) - 1))
        step = 1 if line >= self.cursor else -1
        at = line
        while 0 <= at < len(self.lines) and isinstance(self.lines[at], Heading):
            at += step
        if not 0 <= at < len(self.lines):
            at = line
            while 0 <= at < len(self.lines) and isinstance(self.lines[at], Heading):
                at -= step
        self.cursor = max(0, min(at, len(self.lines) - 1))

    def go_to(self, ref: str) -> bool:
        """Puts the cursor on ``ref``; what hides it (a filter) is cleared."""
        if ref not in {row.ref for row in self.shown} and ref in {row.ref for row in self.rows}:
            self.set_filter("")
        self._put_cursor(ref, self.cursor)
        return self.row is not None and self.row.ref == ref

    # marks

    def toggle(self) -> None:
        """Marks or unmarks the row under the cursor and moves on."""
        if self.row is not None:
            self.marks ^= {self.row.ref}
            self._anchor = self.row.ref
            self.move_to(self.cursor + 1)

    def mark_all(self) -> None:
        self.marks |= {row.ref for row in self.shown}

    def invert(self) -> None:
        self.marks ^= {row.ref for row in self.shown}

    def unmark(self) -> None:
        self.marks.clear()

    def mark_range(self) -> None:
        """Marks from the row that was marked last to the cursor."""
        refs = [row.ref for row in self.shown]
        if self.row is None:
            return
        here = refs.index(self.row.ref)
        start = refs.index(self._anchor) if self._anchor in refs else here
        self.marks |= set(refs[min(start, here) : max(start, here) + 1])

    @property
    def chosen(self) -> tuple[Row, ...]:
        """What actions apply to: the marked rows in their order, else the row under the cursor.

        A mark counts also where a filter hides it.
        """
        if self.marks:
            return tuple(row for row in self.rows if row.ref in self.marks)
        return (self.row,) if self.row is not None else ()
