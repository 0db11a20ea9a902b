"""``dsmanager jobs``: what runs, what waits, and how the latest ended."""

from __future__ import annotations

from typing import Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.jobs.registry import Jobs

_LATEST = 20


def register(app: typer.Typer) -> None:
    app.command("jobs")(jobs)


def jobs(
    ctx: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All, not just the latest {_LATEST} and active ones.")
    ] = False,
) -> None:
    """Show jobs, newest first: long operations started by --detach or in the TUI."""
    context: Context = ctx.obj
    context.begin("jobs")
    found = Jobs(context.settings.state_dir).all()
    shown = [
        job for index, job in enumerate(found) if everything or index < _LATEST or job.is_active
    ]
    for job in shown:
        context.output.row(job.to_json())
    if not context.output.as_json and shown:
        from dsmanager.cli.job_lines import table_lines

        context.output.data("\n".join(table_lines(shown)))
    if len(shown) < len(found):
        context.output.say(f"{len(found) - len(shown)} older ones: dsmanager jobs --all")
    elif not found:
        context.output.say("there are no jobs; start one with --detach, such as: "
                           "dsmanager upload REF --detach")  # fmt: skip
