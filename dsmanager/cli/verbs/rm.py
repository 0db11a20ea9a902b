"""``dsmanager rm``: show what would go and how many bytes, ask, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns, size_text
from dsmanager.cli.running import run_each
from dsmanager.errors import CancelledError, UsageError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.removal import Removal


def register(app: typer.Typer) -> None:
    app.command("rm")(rm)


def rm(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; globs are welcome.")],
    places: Annotated[
        list[str],
        typer.Option("--from", metavar="built|cached|remote|recorded", help="Where to remove it."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove datasets from the places that you name; shows them first."""
    from dsmanager.library.removal import plan_removal, remove

    context: Context = ctx.obj
    context.begin("rm", changes=True)
    plan = plan_removal(context.library, refs, places)
    table = [(str(each.ref), each.place, size_text(each.size_bytes), each.target) for each in plan]
    total = size_text(sum(each.size_bytes for each in plan))
    context.output.say("\n".join(columns(table, right=(2,))))
    if not yes:
        ask(context, f"Remove {len(plan)} ({total})?")

    def work(removal: Removal, progress: Progress, cancel: CancelToken) -> Removal:
        remove(context.library, removal, progress=progress, cancel=cancel)
        return removal

    run_each(
        context, plan, work, lambda done: _show(context, done), label=lambda each: str(each.ref)
    )


def ask(context: Context, question: str) -> None:
    """Returns when somebody agrees; Enter alone means no."""
    if not context.is_interactive:
        raise UsageError("nobody can be asked here, and nothing was removed", hint="add --yes")
    if not typer.confirm(question, default=False, err=True):
        raise CancelledError("nothing was removed")


def _show(context: Context, done: Removal) -> None:
    row = {
        "ref": str(done.ref),
        "from": done.place,
        "target": done.target,
        "bytes": done.size_bytes,
        "outcome": "removed",
    }
    context.output.row(row, f"{done.ref} removed from {done.place}: {done.target}")
