"""``dsmanager download``: fetch archives into the cache, and unpack them where asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import choose, run_each
from dsmanager.cli.verbs.extract import show_extracted
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.extraction import ExtractResult
    from dsmanager.library.transfer import DownloadResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("download")(download)


def download(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; newest without.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace different content in the cache.")
    ] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Keep what arrives even where no record agrees.")
    ] = False,
    extract: Annotated[
        bool, typer.Option("--extract", help="Unpack what was fetched, too.")
    ] = False,
    limit_rate: Annotated[
        str, typer.Option("--limit-rate", metavar="RATE", help="Bytes a second: 500k, 10M, 1.5G.")
    ] = "",
) -> None:
    """Fetch archives into the cache; every record of them must agree with the bytes."""
    from dsmanager.library.extraction import extract as extract_ref
    from dsmanager.library.scope import refs_to_download
    from dsmanager.library.transfer import download as download_ref
    from dsmanager.remotes.rate import rate_limit

    context: Context = ctx.obj
    context.begin("download", changes=True)
    limit = rate_limit(limit_rate)

    fetched: dict[Ref, DownloadResult] = {}

    def fetch(ref: Ref, progress: Progress, cancel: CancelToken) -> DownloadResult:
        return download_ref(
            context.library,
            ref,
            overwrite=overwrite,
            verify=not no_verify,
            limit=limit,
            progress=progress,
            cancel=cancel,
        )

    def keep(done: DownloadResult) -> None:
        fetched[done.ref] = done
        _show(context, done)

    def unpack(ref: Ref, progress: Progress, cancel: CancelToken) -> ExtractResult:
        return extract_ref(
            context.library,
            ref,
            overwrite=overwrite,
            downloaded_sha256=fetched[ref].sha256 if fetched[ref].verified else None,
            progress=progress,
            cancel=cancel,
        )

    chosen = choose(context, refs, lambda each: refs_to_download(context.library, each))
    if run_each(context, chosen, fetch, keep) and extract and fetched:
        run_each(context, list(fetched), unpack, lambda done: show_extracted(context, done))


def _show(context: Context, done: DownloadResult) -> None:
    row = {
        "ref": str(done.ref),
        "path": str(done.path),
        "url": done.url,
        "bytes": done.size_bytes,
        "sha256": done.sha256,
        "verified": done.verified,
        "outcome": "unchanged" if done.was_there else "downloaded",
    }
    said = "is cached already" if done.was_there else "downloaded"
    context.output.row(row, f"{done.ref} {said}: {done.path} ({size_text(done.size_bytes)})")
