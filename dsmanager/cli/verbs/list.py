"""``dsmanager list``: presence of everything, one row a ref."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns, size_text
from dsmanager.errors import ExitCode

if TYPE_CHECKING:
    from dsmanager.library.presence import Presence

_HEADINGS = ("REF", "STATE", "BUILT", "CACHED", "REMOTE", "RECORDED")


def register(app: typer.Typer) -> None:
    app.command("list")(list_presence)


def list_presence(
    ctx: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            help="Words, globs and predicates: digit, coco/*, state:not-built, in:remote, size>1g.",
        ),
    ] = None,
    available: Annotated[
        bool, typer.Option("--available", help="Add the builders that could be built.")
    ] = False,
) -> None:
    """List what is built, cached, on the remote or recorded, and whether they agree."""
    from dsmanager.library.query import Query

    context: Context = ctx.obj
    context.begin("list")
    chosen = Query.parse(query or [])
    found = context.library.survey()
    rows = [row for row in found.rows if chosen.matches(row)]
    if context.output.as_json:
        for row in rows:
            context.output.row(row.to_json())
    _show(context, rows, available=available)
    if available:
        _show_available(context, chosen.words, {row.ref.name for row in found.rows})
    for error in found.errors:
        context.output.error(error)
    context.exit_code = ExitCode.DONE  # what is here was shown; an unreachable remote is told


def _show(context: Context, rows: list[Presence], *, available: bool) -> None:
    if not rows and not available:
        context.output.say("nothing to list here; what could be built: dsmanager list --available")
    if not rows:
        return
    table = [_HEADINGS]
    for row in rows:
        cells = (
            size_text(row.built.size_bytes if row.built else None) or "-",
            size_text(row.cached.size_bytes if row.cached else None) or "-",
            size_text(row.remote.size_bytes if row.remote else None) or "-",
            "yes" if row.recorded else "-",
        )
        table.append((str(row.ref), row.state, *cells))
    if not context.output.as_json:
        context.output.data("\n".join(columns(table, right=(2, 3, 4))))


def _show_available(context: Context, words: tuple[str, ...], present: set[str]) -> None:
    from dsmanager.catalog.find import available

    shown = []
    for source in available(context.settings.builders):
        if all(word in source.name for word in words):
            builder = {
                "origin": source.origin,
                "file": str(source.file) if source.file else None,
                "present": source.name in present,
            }
            nothing = dict.fromkeys(("config", "version", "built", "cached", "remote", "recorded"))
            context.output.rows.append(
                {"ref": None, "name": source.name, "state": "available", "builder": builder}
                | nothing
            )
            shown.append((source.name, source.origin))
    if shown and not context.output.as_json:
        context.output.data("\n".join(columns([("BUILDER", "FROM"), *shown])))
