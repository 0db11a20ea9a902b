"""The jobs, docked below the datasets: what runs, how far it is, what has ended and how."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dsmanager.screens.cells import (
    Cell,
    cut_middle,
    duration_text,
    fit,
    share_done,
    size_text,
)
from dsmanager.screens.line_list import LineList
from dsmanager.text import plain

if TYPE_CHECKING:
    from dsmanager.jobs.job import Job

__all__ = ["JobsPane", "job_cells", "sorted_jobs"]

_ENDED_SHOWN = 2


class JobsPane(LineList):
    """One line a job: those at work first, those that have ended collapsed below."""

    DEFAULT_CSS = "JobsPane { height: 2; display: none; border-top: solid $primary; }"

    def __init__(self) -> None:
        super().__init__(id="jobs")
        self.jobs: Sequence[Job] = ()
        self._cursor = 0

    @property
    def count(self) -> int:
        return len(self.jobs)

    @property
    def cursor(self) -> int:
        return self._cursor

    def put_cursor(self, line: int) -> None:
        self._cursor = max(0, min(line, self.count - 1))

    @property
    def job(self) -> Job | None:
        """The job under the cursor."""
        return self.jobs[self._cursor] if self._cursor < self.count else None

    def cells(self, line: int, width: int) -> Sequence[Cell]:
        return job_cells(self.jobs[line], width)

    def show_jobs(self, jobs: Sequence[Job], most_lines: int) -> None:
        """Takes over new looks at the jobs; while somebody is here the cursor stays on its job."""
        at = self.job.id if self.job and self.has_focus else None
        before = self.jobs
        self.jobs = sorted_jobs(jobs)
        ids = [job.id for job in self.jobs]
        self.put_cursor(ids.index(at) if at in ids else self._cursor if self.has_focus else 0)
        active = sum(job.is_active for job in self.jobs)
        lines = min(most_lines, active + min(_ENDED_SHOWN, self.count - active))
        self.display = bool(self.jobs)
        self.styles.height = max(lines, 1) + 1
        self.border_title = _title(self.jobs)
        if [job.id for job in before] != ids:
            self.lines_changed()
            if not self.has_focus:
                self.scroll_to(y=0, animate=False, force=True)
            return
        for line, (old, new) in enumerate(zip(before, self.jobs, strict=True)):
            if old != new:
                self.refresh_line(line)


def sorted_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Running ones first, then those that wait, then what ended last."""
    return sorted(jobs, key=lambda job: (not job.is_active, job.state == "queued", -job.id))


def _title(jobs: Sequence[Job]) -> str:
    counts = {
        words: sum(job.state == state for job in jobs)
        for state, words in (
            ("running", "running"),
            ("cancelling", "cancelling"),
            ("queued", "queued"),
            ("done", "done"),
            ("failed", "failed"),
            ("lost", "lost"),
            ("cancelled", "cancelled"),
        )
    }
    return "Jobs: " + ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def job_cells(job: Job, width: int) -> list[Cell]:
    """One job on one line of ``width`` cells."""
    number = Cell(fit(f"{job.id:>4} ", 5), "dim")
    kind = Cell(fit(job.kind, 9), "job" if job.is_active else "text")
    left = width - 14
    if not job.is_active:
        return [number, kind, *_ended_cells(job, left)]
    if job.state != "running":
        words = fit(f" {job.state}", 12)
        return [number, kind, Cell(fit(_name(job, left - 12), left - 12), "name"),
                Cell(words, "marker-differs")]  # fmt: skip
    return [number, kind, *_running_cells(job, left)]


def _running_cells(job: Job, width: int) -> list[Cell]:
    share = share_done(job)
    bar = 6 if width < 90 else 20
    phase = job.phase if job.phase != job.kind else ""
    parts = [
        Cell(" " + fit(plain(phase), 9), "dim"),
        Cell(" " + _bar(share, bar), "job"),
        Cell(fit("" if share is None else f"{share:.0%}", 5, right=True), "text"),
        Cell(" " + fit(_counts(job), 12, right=True), "text"),
        Cell(fit(f"{size_text(job.bytes_per_s)}/s" if job.bytes_per_s else "", 11, right=True)),
        Cell(fit("" if job.eta_s is None else f"{duration_text(job.eta_s)}", 8, right=True)),
    ]
    name = width - sum(len(part.text) for part in parts)
    if name < 12:
        del parts[0]
        name = width - sum(len(part.text) for part in parts)
    return [Cell(fit(_name(job, name), name), "name"), *parts]


def _name(job: Job, width: int) -> str:
    """The ref, or the one of several that is at work and how many there are."""
    refs = job.ref.split()
    first = job.label if job.label and len(refs) != 1 else (refs[0] if refs else job.ref)
    more = f" +{len(refs) - 1}" if len(refs) > 1 else ""
    return cut_middle(plain(first), max(width - len(more), 1)) + more


def _bar(share: float | None, width: int) -> str:
    if share is None:
        return "·" * width
    full = round(share * width)
    return "█" * full + "░" * (width - full)


def _counts(job: Job) -> str:
    """``1.2/3.4 GB`` or ``120/500 ex``, as the job counts."""
    if job.bytes_total or (job.bytes_done and not job.items_done):
        if not job.bytes_total:
            return size_text(job.bytes_done)
        total = size_text(job.bytes_total)
        unit_bytes = job.bytes_total / float(total.split(" ")[0])
        return f"{job.bytes_done / unit_bytes:.1f}/{total}"
    if job.items_done or job.items_total:
        total = f"/{job.items_total:,}" if job.items_total else ""
        return f"{job.items_done:,}{total} {job.item_unit[:2]}".rstrip()
    return ""


_ROLES = {"done": "good", "failed": "bad", "lost": "bad"}


def _ended_cells(job: Job, width: int) -> list[Cell]:
    took = _seconds(job)
    words = job.state if took is None else f"{job.state} in {duration_text(took)}"
    if job.state == "lost":
        words = "lost: its process ended with the machine; r retries it"
    elif job.error and job.state != "cancelled":
        words += f": {plain(str(job.error.get('message') or ''))}"
    name = min(max(width // 3, 12), 40)
    return [
        Cell(fit(_name(job, name - 1), name), "name"),
        Cell(fit(cut_middle(words, width - name), width - name), _ROLES.get(job.state, "dim")),
    ]


def _seconds(job: Job) -> float | None:
    """How long it worked."""
    begun = job.started or job.created
    if not begun or not job.finished:
        return None
    return (datetime.fromisoformat(job.finished) - datetime.fromisoformat(begun)).total_seconds()
