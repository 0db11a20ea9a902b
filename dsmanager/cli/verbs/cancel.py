"""``dsmanager cancel``: ask jobs to stop, and tell what became of them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.running import run_each
from dsmanager.errors import DsmanagerError, TemporaryError
from dsmanager.jobs.job import Job
from dsmanager.jobs.registry import Jobs
from dsmanager.progress import CancelToken, Progress

_PATIENCE_S = 10.0
_POLL_S = 0.05


def register(app: typer.Typer) -> None:
    app.command("cancel")(cancel_jobs)


def cancel_jobs(
    ctx: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="See: jobs.")],
) -> None:
    """Stop jobs and take away what they had begun; says how each ended."""
    context: Context = ctx.obj
    context.begin("cancel", changes=True)
    jobs = Jobs(context.settings.state_dir)
    for job_id in ids:  # all are asked before the first is waited for
        with suppress(DsmanagerError):  # told below, of each by itself
            jobs.cancel(job_id)

    def work(job_id: int, _progress: Progress, cancel: CancelToken) -> Job:
        job = jobs.cancel(job_id)
        until_s = time.monotonic() + _PATIENCE_S
        while job.is_active:
            if time.monotonic() > until_s:
                raise TemporaryError(
                    f"job {job_id} has not stopped yet",
                    hint=f"see what it does: dsmanager attach {job_id}",
                )
            cancel.wait(_POLL_S)
            job = jobs.get(job_id)
        return job

    run_each(context, ids, work, lambda job: _show(context, job))


def _show(context: Context, job: Job) -> None:
    from dsmanager.cli.job_lines import outcome_text

    context.output.row(job.to_json(), outcome_text(job))
