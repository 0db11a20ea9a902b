"""Jobs as a person reads them: a table, an amount, an age."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from dsmanager.cli.output import columns
from dsmanager.cli.progress_view import amount_text
from dsmanager.jobs.job import Job
from dsmanager.progress import Snapshot
from dsmanager.text import plain

__all__ = ["outcome_text", "snapshot_of", "table_lines"]

_HEAD = ("ID", "STATE", "VERB", "REF", "PHASE", "AMOUNT", "AGE")
_MOST_LETTERS = 48


def table_lines(jobs: Sequence[Job]) -> list[str]:
    """A row a job, in the order given, below a heading."""
    rows = [
        (
            str(job.id),
            job.state,
            plain(job.kind),
            _shortened(job.ref),
            _shortened(job.phase) if job.is_active else _duration(job),
            _amount(job) if job.is_active else _shortened(_why(job)),
            _age(job.created),
        )
        for job in jobs
    ]
    return columns([_HEAD, *rows], right=(0,))


def snapshot_of(job: Job) -> Snapshot:
    """The counters of a job, as those of work in this process; how fast it goes it says itself."""
    return Snapshot(
        phase=job.phase,
        bytes_done=job.bytes_done,
        bytes_total=job.bytes_total,
        items_done=job.items_done,
        items_total=job.items_total,
        item_unit=job.item_unit,
        phase_started_s=0.0,
    )


def _amount(job: Job) -> str:
    return amount_text(snapshot_of(job), job.bytes_per_s)


def outcome_text(job: Job) -> str:
    """``job 12 failed: upload digit:1.0.8: …``"""
    why = _why(job)
    return f"job {job.id} {job.state}: {job.kind} {job.ref}" + (f": {why}" if why else "")


def _why(job: Job) -> str:
    if job.state == "lost":
        return "its process ended without a result"
    return str(job.error["message"]) if job.error and job.state == "failed" else ""


def _shortened(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def _age(time_text: str | None) -> str:
    return _span(_seconds(time_text, None)) + " ago" if time_text else ""


def _duration(job: Job) -> str:
    if not job.started or not job.finished:
        return ""
    return f"took {_span(_seconds(job.started, job.finished))}"


def _seconds(start: str, end: str | None) -> float:
    ended = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return max((ended - datetime.fromisoformat(start)).total_seconds(), 0.0)


def _span(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
