"""``dsmanager package``: pack what is built into one archive with a sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import size_text
from dsmanager.cli.running import choose, run_each
from dsmanager.errors import UsageError
from dsmanager.progress import CancelToken, Progress
from dsmanager.refs import COMPRESSION_SUFFIXES

if TYPE_CHECKING:
    from dsmanager.library.packaging import PackageResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("package")(package)


def package(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="name[/config][:version]; globs are welcome.")],
    compression: Annotated[
        str, typer.Option("--compression", metavar="gz|zst|none", help="How to compress.")
    ] = "gz",
    together: Annotated[
        bool, typer.Option("--together", help="All configs of a name in one archive.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an archive that is there.")
    ] = False,
    no_record: Annotated[
        bool, typer.Option("--no-record", help="Leave the manifest as it is.")
    ] = False,
) -> None:
    """Pack each built config and version as one archive, and record it in the manifest."""
    from dsmanager.library.packaging import package as package_ref
    from dsmanager.library.scope import refs_to_package

    context: Context = ctx.obj
    context.begin("package", changes=True)
    if compression not in COMPRESSION_SUFFIXES:
        raise UsageError(
            f"there is no compression '{compression}'",
            hint=f"use --compression {'|'.join(COMPRESSION_SUFFIXES)}",
        )

    def work(ref: Ref, progress: Progress, cancel: CancelToken) -> PackageResult:
        return package_ref(
            context.library,
            ref,
            compression=compression,
            together=together,
            overwrite=overwrite,
            record=not no_record,
            progress=progress,
            cancel=cancel,
        )

    chosen = choose(
        context, refs, lambda each: refs_to_package(context.library, each, together=together)
    )
    run_each(context, chosen, work, lambda done: _show(context, done))


def _show(context: Context, done: PackageResult) -> None:
    row = {
        "ref": str(done.ref),
        "path": str(done.path),
        "bytes": done.size_bytes,
        "sha256": done.sha256,
        "tar_sha256": done.tar_sha256,
        "files": done.files,
        "recorded": done.recorded,
        "outcome": "packaged",
    }
    size = size_text(done.size_bytes)
    context.output.row(row, f"{done.ref} packaged: {done.path} ({size}, sha256 {done.sha256})")
