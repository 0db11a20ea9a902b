"""The table of datasets: Built, Cached and Remote side by side under one cursor and one scroll."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from dsmanager.screens.cells import Cell, Layout, fit, layout_for, row_cells, size_text
from dsmanager.screens.line_list import LineList
from dsmanager.screens.rows import Row
from dsmanager.screens.view import COLUMNS, Heading, View
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job

__all__ = ["Headings", "Table", "jobs_by_ref"]


class Table(LineList):
    """The rows of a :class:`View`, each with the job that is at work on it."""

    DEFAULT_CSS = "Table { height: 1fr; }"

    def __init__(self, view: View) -> None:
        super().__init__(id="table")
        self.view = view
        self._jobs: Mapping[str, Job] = {}

    @property
    def count(self) -> int:
        return len(self.view.lines)

    @property
    def cursor(self) -> int:
        return self.view.cursor

    def put_cursor(self, line: int) -> None:
        self.view.move_to(line)

    def cells(self, line: int, width: int) -> Sequence[Cell]:
        shown = self.view.lines[line]
        if isinstance(shown, Heading):
            return [Cell(fit(f"  {plain(shown.label)} ({shown.count:,})", width), "group")]
        return row_cells(
            shown,
            layout_for(width),
            now_s=time.time(),
            is_marked=shown.ref in self.view.marks,
            job=self.job_of(shown),
        )

    def job_of(self, row: Row) -> Job | None:
        """The job that works on ``row`` now, or waits to."""
        if not self._jobs:
            return None
        return self._jobs.get(row.ref) or self._jobs.get(row.ref.partition(":")[0])

    def show_jobs(self, jobs: Sequence[Job]) -> None:
        """Draws the lines again whose job has changed."""
        before, self._jobs = self._jobs, jobs_by_ref(jobs)
        touched = {
            ref.partition(":")[0]
            for ref in before.keys() | self._jobs.keys()
            if before.get(ref) != self._jobs.get(ref)
        }
        if not touched:
            return
        top = self.scroll_offset.y
        for line in range(top, min(top + self.size.height, self.count)):
            shown = self.view.lines[line]
            if isinstance(shown, Row) and shown.ref.partition(":")[0] in touched:
                self.refresh_line(line)


def jobs_by_ref(jobs: Sequence[Job]) -> dict[str, Job]:
    """Active jobs by the refs that they name; a running one counts before one that waits."""
    found: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: (job.state == "queued", -job.id)):
        if job.is_active:
            for ref in {job.label, *job.ref.split()} - {"", "all"}:
                found.setdefault(ref, job)
    return found


class Headings(Widget):
    """The names of the columns, which one sorts, and how much there is in each place."""

    DEFAULT_CSS = """
    Headings { height: 1; background: $panel; color: $text; text-style: bold; }
    Headings.-wide { height: 2; }
    """

    class Sort(Message):
        """A heading was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, view: View) -> None:
        super().__init__(id="headings")
        self.view = view
        self._sums: dict[str, tuple[int, int]] = {}
        self._added_up: Sequence[Row] | None = None

    def add_up(self) -> None:
        """Counts and adds up what is in each place; cheap when the rows are those of before."""
        if self.view.shown is self._added_up:
            return
        self._added_up = self.view.shown
        columns = zip(*(row.sizes for row in self.view.shown), strict=True)
        self._sums = {}
        for place, sizes in zip(self._PANES, columns, strict=False):
            known = [size for size in sizes if size is not None]
            self._sums[place] = (len(known), sum(known))
        self.refresh()

    def render(self) -> Content:
        layout = layout_for(self.size.width - 1)
        lines = ["".join(self._heading(column, width, layout) for column, width in layout.columns)]
        if not layout.is_folded:
            lines.append("".join(self._sum(column, width) for column, width in layout.columns))
        return Content("\n".join(lines))

    def _heading(self, column: str, width: int, layout: Layout) -> str:
        if column == "mark":
            return "  "
        title = COLUMNS[column].title
        if column == self.view.sort:
            title += " ▼" if self.view.is_descending else " ▲"
        parted = not layout.is_folded and column in self._PANES
        return "│ " + fit(title, width - 2) if parted else fit(title, width)

    _PANES = ("built", "cached", "remote", "recorded")

    def _sum(self, column: str, width: int) -> str:
        if column not in self._PANES:
            return " " * width
        count, size_bytes = self._sums.get(column, (0, 0))
        words = f"{count:,}" if column == "recorded" else f"{count:,} · {size_text(size_bytes)}"
        return "│ " + fit(words, width - 2)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(not layout_for(event.size.width - 1).is_folded, "-wide")

    def on_click(self, event: events.Click) -> None:
        column = layout_for(self.size.width - 1).at(event.x)
        if column in COLUMNS:
            self.post_message(self.Sort(str(column)))
