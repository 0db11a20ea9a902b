"""``dsmanager retry``: a new job that does what an ended one was asked to."""

from __future__ import annotations

from typing import Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.detaching import show_started
from dsmanager.jobs.registry import Jobs


def register(app: typer.Typer) -> None:
    app.command("retry")(retry)


def retry(
    ctx: typer.Context, job_id: Annotated[int, typer.Argument(metavar="ID", help="See: jobs.")]
) -> None:
    """Start an ended job again: same arguments and places, your credentials, a new number."""
    context: Context = ctx.obj
    context.begin("retry", changes=True)
    show_started(context, Jobs(context.settings.state_dir).retry(job_id))
