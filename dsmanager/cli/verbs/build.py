"""``dsmanager build``: run builders, each in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsmanager.cli.context import Context
from dsmanager.cli.output import columns, size_text
from dsmanager.cli.running import run, run_each
from dsmanager.errors import DsmanagerError, UsageError
from dsmanager.progress import CancelToken, Progress

if TYPE_CHECKING:
    from dsmanager.library.building import BuildPlan, BuildResult
    from dsmanager.refs import Ref


def register(app: typer.Typer) -> None:
    app.command("build")(build)


def build(
    ctx: typer.Context,
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REF]...", help="name[/config]; NAME/* builds every config."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Every builder of the catalogue and your folders, or of --path."
        ),
    ] = False,
    path: Annotated[
        Path | None, typer.Option("--path", help="File or folder of the builder.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Download and build afresh; replaces what is built.")
    ] = False,
    config: Annotated[str | None, typer.Option("--config", help="Config to build.")] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help="tfrecord (default) or array_record.")
    ] = None,
    manual_dir: Annotated[
        Path | None, typer.Option("--manual-dir", help="Folder of sources that you downloaded.")
    ] = None,
    download_dir: Annotated[
        Path | None, typer.Option("--download-dir", help="Folder that keeps downloads.")
    ] = None,
    register_checksums: Annotated[
        bool,
        typer.Option("--register-checksums", help="Write checksums.tsv instead of comparing."),
    ] = False,
    max_examples: Annotated[
        int | None, typer.Option("--max-examples", min=1, help="Examples of each split, at most.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes at once (default: cores).")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="Dask scheduler, tcp://HOST:PORT, that runs partitions."),
    ] = None,
    beam_options: Annotated[
        list[str] | None,
        typer.Option(
            "--beam-option", metavar="KEY=VALUE", help="Of the pipeline of a Beam builder."
        ),
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not read the shards again after the build.")
    ] = False,
) -> None:
    """Build datasets with their TFDS builders."""
    from dsmanager.building.options import BuildOptions
    from dsmanager.library.building import build as build_ref

    context: Context = ctx.obj
    context.begin("build", changes=True)
    options = BuildOptions(
        clean=clean,
        manual_dir=manual_dir.expanduser().absolute() if manual_dir else None,
        download_dir=download_dir.expanduser().absolute() if download_dir else None,
        file_format=file_format,
        register_checksums=register_checksums,
        max_examples=max_examples,
        workers=workers,
        cluster=cluster,
        beam_options=beam_options or (),
        verify=not no_verify,
    )
    options.require_possible()
    requests = _requests(context, refs, path, everything)

    def work(item: tuple[BuildPlan, Ref], progress: Progress, cancel: CancelToken) -> BuildResult:
        plan, ref = item
        return build_ref(
            context.library, plan, ref, options=options, progress=progress, cancel=cancel
        )

    items = _plans(context, requests, path, config)
    run_each(context, items, work, lambda done: _show(context, done), label=lambda i: str(i[1]))
    if len(context.output.rows) + len(context.output.errors) > 1:
        _show_table(context)


def _requests(
    context: Context, refs: list[str] | None, path: Path | None, everything: bool
) -> list[str]:
    from dsmanager.catalog.find import available, builders_at, name_of_path

    if everything and refs:
        raise UsageError("--all is every builder: no names beside it", hint="dsmanager build --all")
    if everything and path is not None:
        return [source.name for source in builders_at(path)]
    if everything:
        ours = available(context.library.settings.builders)
        return [source.name for source in ours if source.origin != "tfds"]
    if refs:
        return refs
    if path is not None:
        return [name_of_path(path)]
    raise UsageError(
        "name a dataset, or a builder with --path", hint="see them: dsmanager list --available"
    )


def _plans(
    context: Context, requests: list[str], path: Path | None, config: str | None
) -> list[tuple[BuildPlan, Ref]]:
    """What each request means; a request that means nothing is reported, the others go on."""
    from dsmanager.library.building import plan_build

    items: list[tuple[BuildPlan, Ref]] = []
    for request in requests:

        def work(_: Progress, cancel: CancelToken, request: str = request) -> BuildPlan:
            return plan_build(context.library, request, path=path, config=config, cancel=cancel)

        try:
            plan = run(context, request, work)
            items += [(plan, ref) for ref in plan.refs]
        except DsmanagerError as error:
            error.ref = error.ref or request
            context.output.error(error)
    return items


def _show(context: Context, done: BuildResult) -> None:
    splits = ", ".join(f"{name} {count:,}" for name, count in done.splits.items())
    row = {
        "ref": str(done.ref),
        "path": str(done.path),
        "bytes": done.size_bytes,
        "examples": done.examples,
        "splits": done.splits,
        "log": str(done.log) if done.log else None,
        "outcome": "unchanged" if done.was_built else "built",
    }
    said = "is built already" if done.was_built else "built"
    size = size_text(done.size_bytes)
    context.output.row(row, f"{done.ref} {said}: {splits} ({size}) in {done.path}")


def _show_table(context: Context) -> None:
    """What became of each, once more in one place."""
    output = context.output
    rows = [("ref", "outcome", "examples", "size", "")]
    rows += [
        (row["ref"], row["outcome"], f"{row['examples']:,}", size_text(row["bytes"]), "")
        for row in output.rows
    ]
    rows += [(error.ref or "", "failed", "", "", error.message) for error in output.errors]
    for line in columns(rows, right=(2, 3)):
        output.say(line)
