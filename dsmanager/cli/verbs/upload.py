"""``dsmanager upload``: send cached archives to the remote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import choose, run_each
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.transfer import UploadResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("upload")(upload)


def upload(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; globs are welcome.")],
    public: Annotated[
        bool, typer.Option("--public", help="Readable by everybody; private without it.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace different content under the key.")
    ] = False,
    limit_rate: Annotated[
        str, typer.Option("--limit-rate", metavar="RATE", help="Bytes a second: 500k, 10M, 1.5G.")
    ] = "",
) -> None:
    """Send cached archives with their sidecars to the remote, verified on the way."""
    from dsmanager.library.scope import refs_to_upload
    from dsmanager.library.transfer import upload as upload_ref
    from dsmanager.remotes.rate import rate_limit

    context: Context = ctx.obj
    context.begin("upload", changes=True)
    limit = rate_limit(limit_rate)

    def work(ref: Ref, progress: Progress, cancel: CancelToken) -> UploadResult:
        return upload_ref(
            context.library,
            ref,
            public=public,
            overwrite=overwrite,
            limit=limit,
            progress=progress,
            cancel=cancel,
        )

    context.settings.require_remote()
    chosen = choose(context, refs, lambda each: refs_to_upload(context.library, each))
    run_each(context, chosen, work, lambda done: _show(context, done))


def _show(context: Context, done: UploadResult) -> None:
    row = {
        "ref": str(done.ref),
        "url": done.url,
        "bytes": done.size_bytes,
        "sha256": done.sha256,
        "public": done.public,
        "outcome": "unchanged" if done.was_there else "uploaded",
    }
    said = "is there already" if done.was_there else "uploaded"
    context.output.row(row, f"{done.ref} {said}: {done.url} ({size_text(done.size_bytes)})")
