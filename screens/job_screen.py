"""One job: what was asked, how far it is, and its log as it grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen

from dsmanager.screens.actions import by_id
from dsmanager.screens.bars import Line
from dsmanager.screens.cells import Cell, fit
from dsmanager.screens.jobs_pane import job_cells
from dsmanager.screens.line_list import LineList
from dsmanager.screens.model import Model
from dsmanager.text import plain, redact

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job

__all__ = ["JobScreen", "LogFollower"]

_FOLLOW_S = 0.25
_MOST_LINES = 5_000
_MOST_BYTES_AT_ONCE = 1 << 20


class LogFollower:
    """Lines of a log as they are written; begins near the end of a long one."""

    def __init__(self, path: os.PathLike[str]) -> None:
        self._path = path
        self._at: int | None = None
        self._rest = b""
        self.lines: list[str] = []

    def read(self) -> bool:
        """Takes in what is new; whether there was any."""
        try:
            with open(self._path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if self._at is None or self._at > size:
                    self._at = max(size - _MOST_BYTES_AT_ONCE, 0)
                file.seek(self._at)
                new = file.read(_MOST_BYTES_AT_ONCE)
        except OSError:
            return False
        if not new:
            return False
        self._at += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        self.lines += [_safe(line) for line in whole]
        del self.lines[:-_MOST_LINES]
        return bool(whole)


def _safe(line: bytes) -> str:
    return plain(redact(line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]))


class _Log(LineList):
    DEFAULT_CSS = "_Log { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__(id="log")
        self.lines: list[str] = []
        self._cursor = 0

    @property
    def count(self) -> int:
        return len(self.lines)

    @property
    def cursor(self) -> int:
        return self._cursor

    def put_cursor(self, line: int) -> None:
        self._cursor = max(0, min(line, self.count - 1))

    def cells(self, line: int, width: int) -> Sequence[Cell]:
        return [Cell(fit(f" {self.lines[line]}", width), "text")]

    def grown(self) -> None:
        """Follows the end, unless somebody has moved up from it."""
        was_at_end = self._cursor >= len(self.lines) - 2 or not self._has_moved
        self._has_moved = not was_at_end
        if was_at_end:
            self._cursor = max(self.count - 1, 0)
        self.lines_changed()

    _has_moved = False

    def move_cursor(self, line: int) -> None:
        super().move_cursor(line)
        self._has_moved = self._cursor < self.count - 1


class JobScreen(Screen[None]):
    """The live log of a job. Leaving it changes nothing about the job."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", show=False),
        Binding(by_id("job-cancel").key, "cancel", "Cancel job", show=False, id="job-cancel"),
        Binding(by_id("job-retry").key, "retry", "Retry job", show=False, id="job-retry"),
    ]
    DEFAULT_CSS = """
    JobScreen #job-title { background: $panel; text-style: bold; }
    JobScreen #job-keys { background: $panel; }
    """

    def __init__(self, model: Model, job_id: int) -> None:
        super().__init__()
        self._model = model
        self._job_id = job_id
        self._log = _Log()
        self._follower: LogFollower | None = None

    def compose(self) -> ComposeResult:
        yield Line(id="job-title")
        yield Line(id="job-state")
        yield Line(id="job-hint")
        yield self._log
        yield Line(id="job-keys")

    def on_mount(self) -> None:
        self.query_one("#job-keys", Line).show(
            Content("Esc Back c Cancel job r Retry job · the end is followed")
        )
        self._follow()
        self.set_interval(_FOLLOW_S, self._follow)

    @property
    def _job(self) -> Job | None:
        return next((job for job in self._model.jobs if job.id == self._job_id), None)

    def _follow(self) -> None:
        job = self._job
        if job is None:
            self.query_one("#job-state", Line).show(Content("The job is no longer listed"))
            return
        if self._follower is None:
            self._follower = LogFollower(job.log)
        command = f"Job {job.id}: dsmanager {job.kind} {' '.join(job.arguments)}"
        self.query_one("#job-title", Line).show(Content(plain(command)))
        state = "".join(cell.text for cell in job_cells(job, max(self.size.width - 2, 40)))
        self.query_one("#job-state", Line).show(Content(state))
        hint = (job.error or {}).get("hint")
        self.query_one("#job-hint", Line).show(Content(plain(f"Hint: {hint}") if hint else ""))
        with suppress(OSError):
            if self._follower.read():
                self._log.lines = self._follower.lines
                self._log.grown()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_cancel(self) -> None:
        if self._job is not None and self._job.is_active:
            self._model.cancel_job(self._job_id)

    def action_retry(self) -> None:
        if self._job is not None and not self._job.is_active:
            self._model.retry_job(self._job_id)
            self.dismiss(None)
