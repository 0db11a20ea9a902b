"""``--detach``: a job instead of the work, once it is clear what the work would be."""

from __future__ import annotations

from dsmanager.cli.arguments import to_freeze
from dsmanager.cli.context import Context
from dsmanager.jobs.job import Job
from dsmanager.jobs.registry import Jobs

__all__ = ["detach", "show_started"]


def detach(context: Context, *, anything: bool = True) -> None:
    """Starts the command as a job; nothing is started where a part of it was not understood."""
    if context.output.errors:
        context.output.say("nothing was started")
    elif not anything:
        context.output.say("there is nothing to do, and nothing was started")
    else:
        arguments = to_freeze(context.arguments, context.verb)
        jobs = Jobs(context.settings.state_dir)
        context.asked = 1
        show_started(context, jobs.start(context.settings, context.verb, arguments))


def show_started(context: Context, job: Job) -> None:
    context.output.row(job.to_json(), f"job {job.id} started: {job.kind} {job.ref}".rstrip())
    context.output.say(f"follow it: dsmanager attach {job.id}")
