"""``dsmanager attach``: what a job has said, and how far it is, until it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.progress_view import ProgressView, progress_view
from dsmanager.cli.running import cancelling_signals
from dsmanager.errors import CancelledError, DsmanagerError, ExitCode, of_exit_code
from dsmanager.jobs.registry import Jobs

if TYPE_CHECKING:
    from pathlib import Path

    from dsmanager.jobs.job import Job
    from dsmanager.progress import CancelToken

_TICK_S = 0.1
_MOST_AT_ONCE_BYTES = 1 << 20


def register(app: typer.Typer) -> None:
    app.command("attach")(attach)


def attach(
    ctx: typer.Context, job_id: Annotated[int, typer.Argument(metavar="ID", help="See: jobs.")]
) -> None:
    """Follow a job until it ends; Ctrl-C leaves it running. Exits as the job does."""
    context: Context = ctx.obj
    context.begin("attach")
    jobs = Jobs(context.settings.state_dir)
    job = jobs.get(job_id)
    try:
        with cancelling_signals() as cancel, progress_view(context, job.ref) as view:
            job = _follow(context, jobs, job, view, cancel)
    except CancelledError:
        context.output.say(f"job {job_id} goes on; follow it again: dsmanager attach {job_id}")
        context.exit_code = ExitCode.CANCELLED
        return
    _show_end(context, job)


def _follow(context: Context, jobs: Jobs, job: Job, view: ProgressView, cancel: CancelToken) -> Job:
    """Shows the log as it grows, and the counters where there is a terminal for them."""
    is_live = sys.stderr.isatty() and not context.output.as_json
    above = view.note if is_live and sys.stdout.isatty() else context.output.data
    log = _Log(job.log)
    while True:
        job = jobs.get(job.id)  # before the log: what is said last is read last
        for line in log.new_lines(to_the_end=not job.is_active):
            above(line)
        if not job.is_active:
            return job
        if is_live:
            from dsmanager.cli.job_lines import snapshot_of

            view.show(snapshot_of(job), (job.bytes_per_s, job.eta_s))
        cancel.wait(_TICK_S)


class _Log:
    """Reads a log while it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._pending = b""

    def new_lines(self, *, to_the_end: bool) -> Iterator[str]:
        """Whole lines since the last call; a last one that was cut off comes ``to_the_end``."""
        with suppress(OSError), open(self._path, "rb") as file:
            file.seek(self._position)
            while chunk := file.read(_MOST_AT_ONCE_BYTES):
                self._position += len(chunk)
                *lines, self._pending = (self._pending + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        if to_the_end and self._pending:
            yield self._pending.decode("utf-8", "replace")


def _show_end(context: Context, job: Job) -> None:
    from dsmanager.cli.job_lines import outcome_text

    context.output.row(job.to_json())
    context.output.say(outcome_text(job))
    if job.state == "done":
        return
    code = ExitCode.FAILED if job.exit_code is None else job.exit_code
    if job.state == "cancelled":
        code = ExitCode.CANCELLED
    told = job.error or {}
    message, hint = told.get("message"), told.get("hint")
    if job.state == "lost":
        message = f"job {job.id} is lost: its process ended without a result"
        hint = f"try again: dsmanager retry {job.id}"
        context.output.error(DsmanagerError(message, hint=hint))
    else:  # its log has told the error already
        error = of_exit_code(code, message or f"job {job.id} {job.state}", hint=hint)
        context.output.errors.append(error)
    context.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.FAILED
