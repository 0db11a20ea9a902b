"""The library screen: every dataset with its presence in the three places, and the jobs below.

It renders the model and turns keys into requests; what is shown is decided in :mod:`view`, what can
be done in :mod:`actions`. Nothing here reads a disk or a network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from dsmanager.screens import actions
from dsmanager.screens.actions import ACTIONS, Action, Facts
from dsmanager.screens.bars import Footer, Line, row_words, top_words
from dsmanager.screens.cells import cut_middle
from dsmanager.screens.jobs_pane import JobsPane
from dsmanager.screens.line_list import LineList
from dsmanager.screens.model import Model
from dsmanager.screens.requests import JobRequest
from dsmanager.screens.table import Headings, Table
from dsmanager.screens.view import COLUMNS, View
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.screens.app import DsmanagerApp

__all__ = ["LibraryScreen"]


def _bindings(scope_is_jobs: bool) -> list[BindingType]:
    """The bindings of the table, from the actions; ids let the config rebind them."""
    return [
        Binding(action.key, f"do('{action.id}')", action.verb, show=False, id=action.id)
        for action in ACTIONS
        if action.key and (action.scope == "jobs") == scope_is_jobs
    ]


class _Jobs(JobsPane):
    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        if not isinstance(binding, Binding)
        else Binding(
            binding.key,
            f"screen.{binding.action}",
            binding.description,
            show=False,
            id=binding.id,
        )
        for binding in _bindings(scope_is_jobs=True)
    ]


class _FilterInput(Input):
    """Filters as it is typed into: at once, so that letter and rows are drawn in one frame."""

    def watch_value(self, value: str) -> None:
        if self.is_mounted and isinstance(self.screen, LibraryScreen):
            self.screen.filter_changed(value)


class LibraryScreen(Screen[None]):
    """Built · Cached · Remote."""

    BINDINGS: ClassVar[list[BindingType]] = _bindings(scope_is_jobs=False)
    AUTO_FOCUS = "#table"
    DEFAULT_CSS = """
    LibraryScreen #filter-bar { height: 1; display: none; background: $panel; }
    LibraryScreen #filter-bar.-shown { display: block; }
    LibraryScreen #filter-bar Static { width: auto; padding: 0 1; }
    LibraryScreen #filter { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    LibraryScreen #filter-error { color: $text-error; width: 60%; display: none; }
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.view = View()
        self.table = Table(self.view)
        self.headings = Headings(self.view)
        self.jobs_pane = _Jobs()
        self.lines = {name: Line(id=name) for name in ("top", "remote", "status", "filter-error")}
        self.footer = Footer(id="footer")
        self._versions = (-1, -1)
        self._shown_at_s = 0.0
        self.take_rows()

    @property
    def own_app(self) -> DsmanagerApp:
        from dsmanager.screens.app import DsmanagerApp

        assert isinstance(self.app, DsmanagerApp)
        return self.app

    def compose(self) -> ComposeResult:
        yield self.lines["top"]
        yield self.lines["remote"]
        yield self.headings
        yield self.table
        with Horizontal(id="filter-bar"):
            yield Static("Filter", markup=False)
            yield _FilterInput(
                id="filter", placeholder="digit  coco/*  state:not-built  size>1g  in:built"
            )
            yield self.lines["filter-error"]
        yield self.jobs_pane
        yield self.lines["status"]
        yield self.footer

    def on_mount(self) -> None:
        self.sample()

    # following the model

    def take_rows(self) -> None:
        self._versions = (self.model.rows_version, self._versions[1])
        self.view.set_rows(self.model.rows)

    def sample(self) -> None:
        """Draws what has changed in the model since it was drawn last; cheap."""
        rows_version, jobs_version = self._versions
        if rows_version != self.model.rows_version:
            line_on_screen = self.view.cursor - self.table.scroll_offset.y
            self.take_rows()
            self.table.lines_changed()
            self.table.scroll_to(
                y=max(self.view.cursor - line_on_screen, 0), animate=False, force=True
            )
        if jobs_version != self.model.jobs_version:
            self._versions = (self._versions[0], self.model.jobs_version)
            self._show_jobs()
        if time.monotonic() - self._shown_at_s > _AGES_EVERY_S:
            self._shown_at_s = time.monotonic()
            self.table.refresh()
        self.headings.add_up()  # here and not at once: nobody waits for sums
        self.show_bars()

    def _show_jobs(self) -> None:
        jobs = self.model.jobs
        self.table.show_jobs(jobs)
        height = self.size.height
        self.jobs_pane.show_jobs(jobs, 4 if height < 30 else 6 if height < 50 else 10)
        if not jobs and self.focused is self.jobs_pane:
            self.table.focus()

    def show_bars(self) -> None:
        """The lines of words: where this is, the remote, the row, the keys."""
        if not self.is_mounted:
            return
        width = self.size.width
        top, remote = top_words(self.model, width, is_read_only=self.own_app.is_read_only)
        self.lines["top"].show(top)
        self.lines["remote"].show(remote)
        self.lines["status"].show(row_words(self.model, self.view, width))
        is_in_jobs = self.focused is self.jobs_pane
        self.footer.show(
            self.own_app.keys, self.view.chosen if not is_in_jobs else (), self.facts(), is_in_jobs
        )

    def facts(self) -> Facts:
        return Facts(
            is_read_only=self.own_app.is_read_only,
            has_remote=self.model.remote is not None,
            has_rows=bool(self.view.shown),
            job=self.jobs_pane.job,
        )

    @on(LineList.Moved)
    def moved(self) -> None:
        self.show_bars()

    @on(LineList.Chosen)
    def chosen_by_mouse(self, event: LineList.Chosen) -> None:
        self.action_do("job-log" if event.source is self.jobs_pane else "details")

    @on(Footer.Pressed)
    def pressed_by_mouse(self, event: Footer.Pressed) -> None:
        self.action_do(event.action_id)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.show_bars()

    # doing

    def action_do(self, action_id: str) -> None:
        """Does an action of the table, or says why it cannot be done."""
        action = actions.by_id(action_id)
        facts = self.facts()
        rows = self.view.chosen
        if (why := action.why_not(rows, facts)) is not None:
            self.notify(why, severity="warning", markup=False)
        elif action.job is not None:
            self._start_job(action, facts)
        elif (handler := self._handlers().get(action_id)) is not None:
            handler()
        else:
            self.own_app.do(action_id)

    def _start_job(self, action: Action, facts: Facts) -> None:
        able = action.able(self.view.chosen, facts)
        busy = [row for row in able if (job := self.table.job_of(row)) and job.kind == action.job]
        if busy:
            job = self.table.job_of(busy[0])
            self.notify(
                f"{action.verb}: job {job.id if job else ''} is at it already",
                severity="warning",
                markup=False,
            )
            return
        skipped = action.skipped(self.view.chosen, facts)
        told = f"{action.verb} of {_counted(able)}"
        if skipped:
            told += f" (left out {len(self.view.chosen) - len(able)}: {skipped})"
        refs = tuple(row.ref for row in able)
        request = JobRequest(str(action.job), (*refs, *action.arguments))
        self.model.start_job(request, told)
        self.view.unmark()
        self.table.refresh()

    def _handlers(self) -> dict[str, Callable[[], Any]]:
        view = self.view
        return {
            "details": self._show_details,
            "build": partial(self._ask, "build"),
            "sync": partial(self._ask, "sync"),
            "remove": partial(self._ask, "remove"),
            "filter": self._edit_filter,
            "clear": self._clear,
            "sort": lambda: self._rearrange(lambda: view.sort_by(_after(view.sort))),
            "reverse": lambda: self._rearrange(view.reverse),
            "group": lambda: self._rearrange(lambda: view.group_by(_group_after(view.group))),
            "mark": lambda: self._mark(view.toggle),
            "mark-all": lambda: self._mark(view.mark_all),
            "mark-invert": lambda: self._mark(view.invert),
            "mark-range": lambda: self._mark(view.mark_range),
            "unmark": lambda: self._mark(view.unmark),
            "copy-path": lambda: self._copy("path", lambda row: row.path),
            "copy-url": lambda: self._copy("URL", lambda row: row.url),
            "copy-sha256": lambda: self._copy("sha256", lambda row: row.sha256),
            "switch": self._switch,
            "job-log": self._show_log,
            "job-cancel": lambda: self._with_job(self.model.cancel_job),
            "job-retry": lambda: self._with_job(self.model.retry_job),
            "job-forget": lambda: self._with_job(self.model.remove_job),
            "refresh": self._refresh,
        }

    def _ask(self, dialog: str) -> None:
        rows = self.view.chosen
        self.own_app.ask(dialog, rows, f"{_counted(rows)}")

    def _show_details(self) -> None:
        if self.view.row is not None:
            from dsmanager.screens.detail_screen import DetailScreen

            self.app.push_screen(DetailScreen(self.model.settings, self.view.row.presence))

    def _show_log(self) -> None:
        if self.jobs_pane.job is not None:
            from dsmanager.screens.job_screen import JobScreen

            self.app.push_screen(JobScreen(self.model, self.jobs_pane.job.id))

    def _with_job(self, work: Callable[[int], None]) -> None:
        if self.jobs_pane.job is not None:
            work(self.jobs_pane.job.id)

    def _switch(self) -> None:
        to = self.table if self.focused is not self.table or not self.model.jobs else self.jobs_pane
        to.focus()

    def _refresh(self) -> None:
        self.model.look(everything=True)
        self.notify("Looking at everything again", markup=False)

    def _copy(self, what: str, value_of: Callable[[Any], str | None]) -> None:
        if self.view.row is not None and (value := value_of(self.view.row)):
            self.app.copy_to_clipboard(value)
            shown = cut_middle(plain(value), 200)
            self.notify(f"Copied {what}: {shown}", markup=False)

    def _mark(self, change: Callable[[], None]) -> None:
        before = self.view.cursor
        marks = len(self.view.marks)
        change()
        if self.view.cursor != before and abs(len(self.view.marks) - marks) <= 1:
            self.table.cursor_moved(before)
        else:
            self.table.refresh()
        self.show_bars()

    def _rearrange(self, change: Callable[[], None]) -> None:
        change()
        self.headings.refresh()
        self.table.lines_changed()
        self.show_bars()

    @on(Headings.Sort)
    def sort_by_mouse(self, event: Headings.Sort) -> None:
        self._rearrange(lambda: self.view.sort_by(event.column))

    def sort_by(self, column: str) -> None:
        self._rearrange(lambda: self.view.sort_by(column))

    def group_by(self, column: str | None) -> None:
        self._rearrange(lambda: self.view.group_by(column))

    def go_to(self, ref: str) -> None:
        """Puts the cursor on a dataset, whatever the filter."""
        self.view.go_to(ref)
        self._filter_shown(self.view.filter_text)
        self.table.lines_changed()
        self.show_bars()
        self.table.focus()

    # the filter

    def _edit_filter(self) -> None:
        self.query_one("#filter-bar").add_class("-shown")
        self.query_one("#filter", Input).focus()

    def _clear(self) -> None:
        if self.view.filter_text or self.query_one("#filter-bar").has_class("-shown"):
            self.query_one("#filter", Input).value = ""
            self._apply_filter("")
            self._filter_shown("")
            self.table.focus()
        elif self.view.marks:
            self._mark(self.view.unmark)
        elif self.focused is not self.table:
            self.table.focus()

    def _filter_shown(self, text: str) -> None:
        self.query_one("#filter-bar").set_class(bool(text), "-shown")
        self.query_one("#filter", Input).value = text

    def filter_changed(self, text: str) -> None:
        if text != self.view.filter_text:
            self._apply_filter(text)

    def _apply_filter(self, text: str) -> None:
        self.view.set_filter(text)
        error = self.lines["filter-error"]
        error.display = bool(self.view.filter_error)
        error.show(Content(plain(self.view.filter_error or "")))
        self.table.lines_changed()
        self.show_bars()

    @on(Input.Submitted, "#filter")
    def filter_submitted(self) -> None:
        self._filter_shown(self.view.filter_text)
        self.table.focus()

    def on_key(self, event: events.Key) -> None:
        if event.key == "down" and self.focused is self.query_one("#filter"):
            self.table.focus()


_AGES_EVERY_S = 20.0


def _counted(rows: tuple[Any, ...]) -> str:
    if len(rows) == 1:
        return plain(rows[0].ref)
    return f"{len(rows):,} datasets"


def _after(column: str) -> str:
    names = list(COLUMNS)
    return names[(names.index(column) + 1) % len(names)]


def _group_after(column: str | None) -> str | None:
    names: list[str | None] = [None, "state", "built", "cached", "remote", "recorded", "name",
                               "version", "size", "age"]  # fmt: skip
    return names[(names.index(column) + 1) % len(names)]
