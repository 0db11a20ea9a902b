"""``dsmanager new``: a dataset definition to start from, which builds at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsmanager.cli.context import Context


def register(app: typer.Typer) -> None:
    app.command("new")(new)


def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the dataset, in snake_case.")],
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where its folder goes; else the current one."),
    ] = None,
) -> None:
    """Scaffold ./NAME/: a builder with its test and dummy data; it builds without network."""
    from dsmanager.catalog.scaffold import scaffold

    context: Context = ctx.obj
    context.begin("new", changes=True)
    made = scaffold(name, folder)
    row = {
        "name": made.name,
        "path": str(made.folder),
        "builder": str(made.builder),
        "files": [str(path) for path in made.files],
        "outcome": "created",
    }
    context.output.row(row, f"{made.name} is in {made.folder}")
    context.output.say(f"build it: dsmanager build --path '{made.builder}'")
