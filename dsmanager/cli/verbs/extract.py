"""``dsmanager extract``: unpack and verify a cached archive in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import choose, run_each
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.extraction import ExtractResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("extract")(extract)


def extract(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; newest without.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is built there.")
    ] = False,
) -> None:
    """Unpack cached archives into the data dir, verifying every byte."""
    from dsmanager.library.extraction import extract as extract_ref
    from dsmanager.library.scope import refs_to_extract

    context: Context = ctx.obj
    context.begin("extract", changes=True)

    def work(ref: Ref, progress: Progress, cancel: CancelToken) -> ExtractResult:
        return extract_ref(
            context.library, ref, overwrite=overwrite, progress=progress, cancel=cancel
        )

    chosen = choose(context, refs, lambda each: refs_to_extract(context.library, each))
    run_each(context, chosen, work, lambda done: show_extracted(context, done))


def show_extracted(context: Context, done: ExtractResult) -> None:
    paths = [str(path) for path in done.paths]
    row = {
        "ref": str(done.ref),
        "paths": paths,
        "files": done.files,
        "bytes": done.size_bytes,
        "sha256": done.sha256,
        "outcome": "extracted",
    }
    amount = f"{done.files} files, {size_text(done.size_bytes)}"
    context.output.row(row, f"{done.ref} extracted: {', '.join(paths)} ({amount})")
