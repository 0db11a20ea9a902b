"""``dsmanager gc``: show what nobody needs and how many bytes, ask before good data, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns, size_text
from dsmanager.cli.running import run_each
from dsmanager.cli.verbs.rm import ask
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.garbage import Garbage


def register(app: typer.Typer) -> None:
    app.command("gc")(gc)


def gc(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, and remove nothing.")] = False,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", metavar="N", help="Remove all but the N newest versions, built and cached."
        ),
    ] = None,
    not_needed_here: Annotated[
        bool,
        typer.Option(
            "--not-needed-here",
            help="Remove cached archives that are recorded and safe on the remote.",
        ),
    ] = False,
    all_uploads: Annotated[
        bool,
        typer.Option(
            "--all-uploads",
            help="End unfinished uploads of other machines, too, before they are a day old.",
        ),
    ] = False,
    keep_logs: Annotated[
        int, typer.Option("--keep-logs", metavar="N", min=1, help="Newest logs of a dataset kept.")
    ] = 10,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove what dead processes left, here and on the remote; good data only where you say so."""
    from dsmanager.library.collecting import collect, plan_collection
    from dsmanager.library.garbage import Request

    context: Context = ctx.obj
    context.begin("gc", changes=not dry_run)
    if dry_run:
        context.refuse_detach("--dry-run")
    request = Request(keep, not_needed_here, all_uploads, keep_logs)
    plan = plan_collection(context.library, request)
    _show_plan(context, plan.garbage, plan.notes)
    good = [each for each in plan.garbage if each.is_good_data]
    if dry_run:
        for each in plan.garbage:
            context.output.row(_row(each, "planned"))
    else:
        if good and not yes:
            size = size_text(sum(each.size_bytes for each in good))
            ask(context, f"Remove {len(good)} that are good data ({size}) among them?")

        def work(item: Garbage, progress: Progress, cancel: CancelToken) -> tuple[Garbage, str]:
            return item, collect(context.library, item, progress=progress, cancel=cancel)

        run_each(
            context,
            plan.garbage,
            work,
            lambda done: context.output.row(_row(*done), f"{done[1]} {done[0].target}"),
            label=lambda each: str(each.ref or each.target),
        )
        if context.detach:
            return
    for error in plan.errors:
        context.output.error(error)
    context.asked = max(len(plan.garbage) + len(plan.errors), 1)


def _show_plan(context: Context, garbage: tuple[Garbage, ...], notes: tuple[str, ...]) -> None:
    for note in notes:
        context.output.say(note)
    if not garbage:
        context.output.say("nothing to remove")
        return
    table = [(each.kind, size_text(each.size_bytes), each.target, each.reason) for each in garbage]
    total = size_text(sum(each.size_bytes for each in garbage))
    context.output.say("\n".join([*columns(table, right=(1,)), f"{total} in all"]))


def _row(garbage: Garbage, outcome: str) -> dict[str, Any]:
    return {
        "kind": garbage.kind,
        "ref": str(garbage.ref) if garbage.ref else None,
        "target": garbage.target,
        "bytes": garbage.size_bytes,
        "reason": garbage.reason,
        "outcome": outcome,
    }
